//! For how long each latent has not been active, and which are dead.
//!
//! The counts stay on the device. Whether any latent can be dead is known without reading them, until one has had the time
//! to die; so a step on a GPU hardly ever waits for them.
//!
//! Shapes: `F` latents.

use burn::tensor::{Device, Int, Tensor, TensorData};
use kernels::{is_cpu, to_vec};

/// The counts stop here, at a billion activations: a longer silence is not told from this one.
const MOST: i32 = 1 << 30;
/// Steps between two looks whether dead latents are left, where a look waits for the device.
const LOOK_EVERY: usize = 32;

/// Activations since each latent was last active.
#[derive(Debug)]
pub(crate) struct Silence {
    /// At most [`MOST`]; `[F]`.
    since: Tensor<1, Int>,
    /// Activations without which a latent is dead, at most [`MOST`].
    dead_after: i32,
    /// Activations for which no latent can be dead yet.
    none_for: usize,
    /// Steps for which at most [`Silence::at_most`] latents are dead, so that nothing needs to be read.
    some_for: usize,
    at_most: usize,
    /// Activations of the last step.
    rows: usize,
}

/// Dead latents, or the possibility of some.
#[derive(Debug, Clone)]
pub(crate) struct Dead {
    /// 1 for a dead latent, 0 for others; `[F]`, plain.
    pub(crate) mask: Tensor<1>,
    /// No more than these are dead, as far as is known without waiting.
    pub(crate) at_most: usize,
}

impl Dead {
    /// Their numbers, ascending; waits for the device.
    pub(crate) fn list(&self) -> Vec<u32> {
        let mask = (0_u32..).zip(to_vec(self.mask.clone()));
        mask.filter(|(_, dead)| *dead > 0.0).map(|(latent, _)| latent).collect()
    }

    /// 1 if there is a dead latent, `[1]`.
    pub(crate) fn any(&self) -> Tensor<1> {
        self.mask.clone().max()
    }
}

impl Silence {
    /// No latent has been silent.
    pub(crate) fn new(n_latents: usize, dead_after: usize, device: &Device) -> Self {
        Self::restored(&vec![0; n_latents], dead_after, device)
    }

    /// From what [`Silence::counts`] gave.
    pub(crate) fn restored(counts: &[u64], dead_after: usize, device: &Device) -> Self {
        let counts: Vec<i32> = counts.iter().map(|&n| n.min(MOST as u64) as i32).collect();
        let n = counts.len();
        Self {
            since: Tensor::from_data(TensorData::new(counts, [n]), device),
            dead_after: dead_after.min(MOST as usize) as i32,
            none_for: 0,
            some_for: 0,
            at_most: n,
            rows: 0,
        }
    }

    /// As many activations as can be told apart from more.
    pub(crate) fn countable(activations: u64) -> u64 {
        activations.min(MOST as u64)
    }

    /// Activations since each latent was last active; waits for the device.
    pub(crate) fn counts(&self) -> Vec<u64> {
        match self.since.clone().into_data().try_into_vec_as::<i32>() {
            Ok(counts) => counts.into_iter().map(|n| n.max(0) as u64).collect(),
            Err(error) => unreachable!("whole numbers are readable as such: {error}"),
        }
    }

    /// The dead latents now; waits for the device.
    pub(crate) fn look(&self) -> Option<Dead> {
        let dead = Dead {
            mask: self.mask(),
            at_most: self.since.dims()[0],
        };
        (!dead.list().is_empty()).then_some(dead)
    }

    /// The dead latents now, if there can be any. On the CPU there is one if this is not none; a GPU is waited for only when it
    /// may have changed that there are some.
    pub(crate) fn dead(&mut self) -> Option<Dead> {
        if self.none_for > 0 {
            return None;
        }
        if self.some_for == 0 {
            let counts = self.counts();
            let dead_after = self.dead_after as u64;
            let longest = counts.iter().copied().max().unwrap_or(0);
            if longest < dead_after {
                self.none_for = (dead_after - longest) as usize;
                return None;
            }
            self.some_for = match is_cpu(&self.since.device()) || self.rows == 0 {
                true => 1,
                false => LOOK_EVERY,
            };
            let meanwhile = (self.rows * (self.some_for - 1)) as u64;
            self.at_most = counts.into_iter().filter(|n| n + meanwhile >= dead_after).count();
        }
        Some(Dead {
            mask: self.mask(),
            at_most: self.at_most,
        })
    }

    /// Takes note of a step on `rows` activations, in which each latent was active in so many rows, `[F]`.
    pub(crate) fn step(&mut self, active: Tensor<1>, rows: usize) {
        let rows = rows.min(MOST as usize);
        self.since = (self.since.clone() + rows as i32)
            .clamp_max(MOST)
            .mask_fill(active.greater_elem(0.0), 0);
        self.none_for = self.none_for.saturating_sub(rows);
        self.some_for = self.some_for.saturating_sub(1);
        self.rows = rows;
    }

    fn mask(&self) -> Tensor<1> {
        self.since.clone().greater_equal_elem(self.dead_after).float()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{cpu, from_vec};

    #[test]
    fn the_dead_are_those_whose_silence_was_long_enough_however_seldom_it_is_looked() {
        // On the second device nothing is read but every `LOOK_EVERY` steps.
        for device in [cpu(), cpu().autodiff()] {
            let mut silence = Silence::new(3, 25, &device);
            let mut counted = [0_u64; 3];
            for step in 0..90 {
                // Latent 0 is always active, 1 never before step 40, 2 never after step 50.
                let active = [true, step >= 40, step < 50];
                let expected: Vec<u32> = (0..3).filter(|&i| counted[i as usize] >= 25).collect();
                let found = silence.dead();
                if is_cpu(&device) {
                    assert_eq!(found.is_some(), !expected.is_empty(), "step {step}");
                }
                assert!(
                    found.as_ref().is_none_or(|dead| dead.at_most >= expected.len()),
                    "step {step}"
                );
                assert_eq!(found.map_or(vec![], |dead| dead.list()), expected, "step {step}");
                assert_eq!(
                    silence.look().map_or(vec![], |dead| dead.list()),
                    expected,
                    "step {step}"
                );
                silence.step(
                    from_vec(active.map(|a| f32::from(u8::from(a))).to_vec(), [3], &device),
                    10,
                );
                for (count, active) in counted.iter_mut().zip(active) {
                    *count = if active { 0 } else { *count + 10 };
                }
                assert_eq!(silence.counts(), counted);
            }
        }
    }

    #[test]
    fn counts_stop_before_they_overflow() {
        let mut silence = Silence::restored(&[u64::MAX, 5], usize::MAX, &cpu());
        silence.step(from_vec(vec![0.0, 0.0], [2], &cpu()), 100);
        assert_eq!(silence.counts(), [MOST as u64, 105]);
        assert_eq!(silence.dead().unwrap().list(), [0]);
    }
}
