//! The active entries of a batch, kept where the sparse kernels of a device need them.
//!
//! Shapes: `B` rows, `F` latents, `N` active entries.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{ActiveSet, from_vec, to_vec};

/// Which (row, latent) entries are active, numbered row by row and within a row by latent.
#[derive(Debug, Clone)]
pub struct Entries(pub(crate) Place);

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Host(Arc<ActiveSet>),
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    Gpu(Arc<crate::active_gpu::GpuSet>),
}

impl From<ActiveSet> for Entries {
    fn from(set: ActiveSet) -> Self {
        Self(Place::Host(Arc::new(set)))
    }
}

impl Entries {
    /// The entries at which a mask is not 0. On a GPU nothing is read, so their number must be known.
    ///
    /// # Shapes
    ///
    /// - mask: `[B, F]`, with exactly `n` numbers that are not 0, and `n` not 0
    pub fn of_mask(mask: &Tensor<2>, n: usize) -> Self {
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        if let Some(on_gpu) = crate::gpu::primitive(mask) {
            let set = crate::active_gpu::GpuSet::of_mask(&on_gpu, mask.dims(), n);
            return Self(Place::Gpu(Arc::new(set)));
        }
        let [_, n_latents] = mask.dims();
        let marked = |row: &[f32]| -> Vec<u32> {
            let row = (0_u32..).zip(row);
            row.filter(|(_, mark)| **mark != 0.0)
                .map(|(latent, _)| latent)
                .collect()
        };
        let rows: Vec<Vec<u32>> = to_vec(mask.clone()).chunks(n_latents).map(marked).collect();
        let set = ActiveSet::from_rows(n_latents, &rows);
        assert_eq!(set.len(), n, "entries of a mask");
        set.into()
    }

    /// Number of entries, `N`.
    pub fn len(&self) -> usize {
        match &self.0 {
            Place::Host(set) => set.len(),
            #[cfg(any(feature = "wgpu", feature = "cuda"))]
            Place::Gpu(set) => set.n,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of latents, `F`.
    pub fn n_latents(&self) -> usize {
        match &self.0 {
            Place::Host(set) => set.n_latents(),
            #[cfg(any(feature = "wgpu", feature = "cuda"))]
            Place::Gpu(set) => set.n_latents,
        }
    }

    /// The entries in host memory, if they are there.
    pub fn host(&self) -> Option<&ActiveSet> {
        match &self.0 {
            Place::Host(set) => Some(set),
            #[cfg(any(feature = "wgpu", feature = "cuda"))]
            Place::Gpu(_) => None,
        }
    }

    /// Latent of each entry, `[N]`.
    pub fn latents(&self, device: &Device) -> Tensor<1, Int> {
        match &self.0 {
            Place::Host(set) => {
                let latents: Vec<i32> = set.latents().iter().map(|&latent| latent as i32).collect();
                let n = latents.len();
                Tensor::from_data(TensorData::new(latents, [n]), device)
            }
            #[cfg(any(feature = "wgpu", feature = "cuda"))]
            Place::Gpu(set) => {
                let all = Tensor::<2, Int>::from_primitive::<burn_cubecl::CubeBackend>(set.entries.clone()); // [3, N]
                all.narrow(0, 1, 1).reshape([set.n])
            }
        }
    }

    /// The numbers of a matrix at the entries; nothing is differentiated.
    ///
    /// # Shapes
    ///
    /// - matrix: `[B, F]` (plain)
    /// - output: `[N]`
    pub fn pick(&self, matrix: &Tensor<2>) -> Tensor<1> {
        match &self.0 {
            Place::Host(set) => {
                let ([_, width], numbers) = (matrix.dims(), to_vec(matrix.clone()));
                let of_row = |row| {
                    set.row(row)
                        .map(move |entry| row * width + set.latents()[entry] as usize)
                };
                let places = (0..set.n_rows()).flat_map(of_row);
                from_vec(
                    places.map(|place| numbers[place]).collect(),
                    [set.len()],
                    &matrix.device(),
                )
            }
            #[cfg(any(feature = "wgpu", feature = "cuda"))]
            Place::Gpu(set) => match crate::gpu::primitive(matrix) {
                Some(matrix) => Tensor::from_primitive::<burn_cubecl::CubeBackend>(set.pick(&matrix)),
                None => unreachable!("the matrix lies where its entries were found"),
            },
        }
    }

    /// The sum over each latent's entries of one number an entry; nothing is differentiated.
    ///
    /// # Shapes
    ///
    /// - numbers: `[N]` (plain)
    /// - output: `[F]`
    pub fn sum_by_latent(&self, numbers: Tensor<1>) -> Tensor<1> {
        let device = numbers.device();
        match &self.0 {
            Place::Host(set) => {
                let numbers = to_vec(numbers);
                let mut sums = vec![0.0_f32; set.n_latents()];
                for (&latent, number) in set.latents().iter().zip(numbers) {
                    sums[latent as usize] += number;
                }
                from_vec(sums, [set.n_latents()], &device)
            }
            #[cfg(any(feature = "wgpu", feature = "cuda"))]
            Place::Gpu(set) => {
                let ones = Tensor::<2>::ones([set.n_rows, 1], &device);
                let (Some(numbers), Some(ones)) = (crate::gpu::primitive(&numbers), crate::gpu::primitive(&ones))
                else {
                    unreachable!("the numbers lie where their entries were found");
                };
                let sums = crate::segments_gpu::sum_by_latent(&numbers, &ones, 1, set);
                Tensor::<2>::from_primitive::<burn_cubecl::CubeBackend>(sums).reshape([set.n_latents])
            }
        }
    }
}
