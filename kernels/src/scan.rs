//! The search of one row of pre-activations for its active entries.
//!
//! Both passes over a row compare whole chunks of scores with a bound, and nearly all chunks hold nothing above it. Each
//! function must be called inside [`simd!`](crate::vector::simd).
//!
//! Shapes: `F` latents.

#![allow(
    clippy::neg_cmp_op_on_partial_ord,
    reason = "what is NaN must count as found, so that it can be refused"
)]

/// Scores that are compared with a bound at once.
const LANES: usize = 16;
/// Groups of a row are a multiple of this.
const GROUPS: usize = 64;

/// An active entry of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) latent: u32,
    /// Pre-activation, bias included.
    pub(crate) value: f32,
    /// What entries are compared by: the value, or the value times its latent's scale.
    pub(crate) score: f32,
}

/// A score that is NaN or plus infinity.
#[derive(Debug)]
pub(crate) struct NotComparable;

/// Memory that the searches of many rows share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Largest score of each group, `[groups]`.
    pub(crate) maxima: Vec<f32>,
    /// Latents that may be active.
    pub(crate) candidates: Vec<u32>,
    /// Scores of the candidates.
    pub(crate) scores: Vec<f32>,
    /// Scores of a whole row, where they are not its values; `[F]`.
    pub(crate) scaled: Vec<f32>,
}

/// Adds the bias to a row of products and appends its `k` largest positive scores to `out`, by latent; of equal scores the
/// leftmost are kept.
///
/// The `k`-th largest of the maxima of disjoint groups is a lower bound of the `k`-th largest score, and a close one where
/// groups are many more than `k`; so hardly more than `k` candidates are left for the exact selection.
///
/// # Shapes
///
/// - row, bias, scales: `[F]`
#[inline(always)]
pub(crate) fn largest(
    row: &mut [f32],
    bias: &[f32],
    scales: Option<&[f32]>,
    k: usize,
    scratch: &mut Scratch,
    out: &mut Vec<Entry>,
) -> Result<(), NotComparable> {
    add(row, bias);
    if k == 0 {
        return Ok(());
    }
    let Scratch {
        maxima,
        candidates,
        scores,
        scaled,
    } = scratch;
    let row = &*row;
    let scored = score(row, scales, scaled);
    make_room(candidates, scored.len());
    let found = at_least(scored, lower_bound(scored, k, maxima), candidates);
    keep_largest(entries_at(&candidates[..found], row, scored), k, scores, out)
}

/// Appends the `k` entries with the largest scores to `out`, in their order; of equal scores the first are kept. A score that is NaN
/// or infinite is an error.
#[inline(always)]
pub(crate) fn keep_largest(
    entries: impl Iterator<Item = Entry> + Clone,
    k: usize,
    scores: &mut Vec<f32>,
    out: &mut Vec<Entry>,
) -> Result<(), NotComparable> {
    scores.clear();
    scores.extend(entries.clone().map(|entry| entry.score));
    if scores.iter().any(|score| !score.is_finite()) {
        return Err(NotComparable);
    }
    let found = scores.len();
    if found <= k {
        out.extend(entries);
        return Ok(());
    }
    let (_, &mut least, above) = scores.select_nth_unstable_by(found - k, f32::total_cmp);
    // Entries that equal the least kept score fill the places that greater ones leave.
    let mut ties = k - above.iter().filter(|&&score| score > least).count();
    for entry in entries {
        if entry.score > least {
            out.push(entry);
        } else if entry.score == least && ties > 0 {
            ties -= 1;
            out.push(entry);
        }
    }
    Ok(())
}

/// Adds the bias to a row of products and appends the entries whose score is greater than `bound`, which is not negative, by
/// latent.
///
/// # Shapes
///
/// - row, bias, scales: `[F]`
#[inline(always)]
pub(crate) fn above_score(
    row: &mut [f32],
    bias: &[f32],
    scales: Option<&[f32]>,
    bound: f32,
    scratch: &mut Scratch,
    out: &mut Vec<Entry>,
) -> Result<(), NotComparable> {
    add(row, bias);
    let row = &*row;
    let scored = score(row, scales, &mut scratch.scaled);
    let candidates = &mut scratch.candidates;
    make_room(candidates, scored.len());
    let found = at_least(scored, bound.next_up(), candidates);
    append(entries_at(&candidates[..found], row, scored), out)
}

/// Adds the bias to a row of products and appends the entries whose value is greater than their latent's bound, by latent.
///
/// # Shapes
///
/// - row, bias, bounds: `[F]`
#[inline(always)]
pub(crate) fn above(
    row: &mut [f32],
    bias: &[f32],
    bounds: &[f32],
    scratch: &mut Scratch,
    out: &mut Vec<Entry>,
) -> Result<(), NotComparable> {
    add(row, bias);
    let row = &*row;
    let candidates = &mut scratch.candidates;
    make_room(candidates, row.len());
    let found = greater(row, bounds, candidates);
    append(entries_at(&candidates[..found], row, row), out)
}

/// Room for the places of `n` scores and a chunk more, whatever stands there.
#[inline(always)]
pub(crate) fn make_room(candidates: &mut Vec<u32>, n: usize) {
    if candidates.len() < n + LANES {
        candidates.resize(n + LANES, 0);
    }
}

#[inline(always)]
fn add(row: &mut [f32], bias: &[f32]) {
    for (h, b) in row.iter_mut().zip(bias) {
        *h += b;
    }
}

/// Values times their latents' scales, or the values themselves.
#[inline(always)]
fn score<'a>(values: &'a [f32], scales: Option<&[f32]>, scaled: &'a mut Vec<f32>) -> &'a [f32] {
    let Some(scales) = scales else { return values };
    scaled.clear();
    scaled.extend(values.iter().zip(scales).map(|(value, scale)| value * scale));
    scaled
}

/// A positive number that at least `k` of the scores reach, if so many are positive. NaN counts for nothing here, and is found with the
/// candidates.
#[inline(always)]
pub(crate) fn lower_bound(scores: &[f32], k: usize, maxima: &mut Vec<f32>) -> f32 {
    let least_positive = f32::from_bits(1);
    if scores.len() <= k {
        return least_positive;
    }
    let groups = (4 * k).next_multiple_of(GROUPS);
    if scores.len() < 2 * groups {
        maxima.clear();
        maxima.extend(scores.iter().map(|&score| {
            if score > f32::NEG_INFINITY {
                score
            } else {
                f32::NEG_INFINITY
            }
        }));
    } else {
        maxima.clear();
        maxima.resize(groups, f32::NEG_INFINITY);
        for chunk in scores.chunks(groups) {
            for (most, &score) in maxima.iter_mut().zip(chunk) {
                *most = if score > *most { score } else { *most };
            }
        }
    }
    let place = maxima.len() - k;
    let (_, &mut bound, _) = maxima.select_nth_unstable_by(place, f32::total_cmp);
    if bound > least_positive { bound } else { least_positive }
}

/// Writes the places of the scores that are not below `bound` to `places`, ascending, and returns their number; NaN is not
/// below anything. `places` has room for [`LANES`] more than there are scores.
#[inline(always)]
pub(crate) fn at_least(scores: &[f32], bound: f32, places: &mut [u32]) -> usize {
    let mut found = 0;
    let (chunks, rest) = scores.as_chunks::<LANES>();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut any = false;
        for score in chunk {
            any |= !(*score < bound);
        }
        if any {
            let slots = &mut places[found..found + LANES];
            let mut n = 0;
            for (lane, score) in chunk.iter().enumerate() {
                slots[n % LANES] = (index * LANES + lane) as u32;
                n += usize::from(!(*score < bound));
            }
            found += n;
        }
    }
    let first = chunks.len() * LANES;
    for (lane, score) in rest.iter().enumerate() {
        places[found] = (first + lane) as u32;
        found += usize::from(!(*score < bound));
    }
    found
}

/// Writes the places of the values that are not at or below their bound to `places`, ascending, and returns their number; NaN is
/// neither. `places` has room for [`LANES`] more than there are values.
#[inline(always)]
pub(crate) fn greater(values: &[f32], bounds: &[f32], places: &mut [u32]) -> usize {
    let mut found = 0;
    let (chunks, rest) = values.as_chunks::<LANES>();
    let (bounds, bounds_of_rest) = bounds.as_chunks::<LANES>();
    for (index, (chunk, bounds)) in chunks.iter().zip(bounds).enumerate() {
        let mut any = false;
        for lane in 0..LANES {
            any |= !(chunk[lane] <= bounds[lane]);
        }
        if any {
            let slots = &mut places[found..found + LANES];
            let mut n = 0;
            for lane in 0..LANES {
                slots[n % LANES] = (index * LANES + lane) as u32;
                n += usize::from(!(chunk[lane] <= bounds[lane]));
            }
            found += n;
        }
    }
    let first = chunks.len() * LANES;
    for (lane, (value, bound)) in rest.iter().zip(bounds_of_rest).enumerate() {
        places[found] = (first + lane) as u32;
        found += usize::from(!(value <= bound));
    }
    found
}

/// The entries of a row at some latents.
#[inline(always)]
fn entries_at(latents: &[u32], values: &[f32], scores: &[f32]) -> impl Iterator<Item = Entry> + Clone {
    latents.iter().map(|&latent| Entry {
        latent,
        value: values[latent as usize],
        score: scores[latent as usize],
    })
}

/// Appends entries to `out`; a score that is NaN or infinite is an error.
#[inline(always)]
pub(crate) fn append(entries: impl Iterator<Item = Entry>, out: &mut Vec<Entry>) -> Result<(), NotComparable> {
    for entry in entries {
        if !entry.score.is_finite() {
            return Err(NotComparable);
        }
        out.push(entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_are_nan_do_not_raise_the_lower_bound() {
        let few = [f32::NAN, 3.0, -f32::NAN, 2.0, 1.0, -1.0];
        assert_eq!(lower_bound(&few, 2, &mut Vec::new()), 2.0);
        // Of many scores the maxima of groups are compared.
        let many: Vec<f32> = few
            .iter()
            .copied()
            .chain((0..1000).map(|i| -f32::from(i as u16)))
            .collect();
        assert_eq!(lower_bound(&many, 2, &mut Vec::new()), 2.0);
        assert_eq!(lower_bound(&many, 7, &mut Vec::new()), f32::from_bits(1));
    }
}
