//! What every dictionary of activations can do, learned or supervised.
//!
//! Shapes: `B` rows of a batch, `D` width of an activation, `F` latents.

use burn::tensor::{Device, Tensor};

/// A set of `F` directions, with an affine way from codes back to activations. How codes come about says [`Encoder`] or
/// [`LabelledEncoder`].
pub trait Dictionary: Send + Sync {
    /// Width `D` of the activations.
    fn d_in(&self) -> usize;

    /// Width of what it gives back: `D`, but for a transcoder, which gives vectors of another hook than it reads.
    fn d_out(&self) -> usize {
        self.d_in()
    }

    /// Number of latents `F`.
    fn n_latents(&self) -> usize;

    /// The device that the parameters live on; [`Dictionary::directions`] works there.
    fn device(&self) -> Device;

    /// Activations rebuilt from codes; affine in the codes.
    ///
    /// # Shapes
    ///
    /// - codes: `[B, F]`
    /// - output: `[B, D]`
    fn decode(&self, codes: Tensor<2>) -> Tensor<2>;

    /// Whether latents `j` and `j + F / 2` are the two directions of one axis, so that exchanging a coordinate of either sign for
    /// one of the other is one change of the dictionary and not two.
    fn is_signed_basis(&self) -> bool {
        false
    }

    /// What it gives back besides the decoded codes, straight from the activations: a skip connection.
    ///
    /// # Shapes
    ///
    /// - activations: `[B, D]`
    /// - output: `[B, D]`, of a transcoder `[B, D_out]`
    fn direct(&self, _activations: Tensor<2>) -> Option<Tensor<2>> {
        None
    }

    /// The direction of each latent: row `j` is `decode(e_j) - decode(0)`.
    ///
    /// The provided version decodes an `F` by `F` identity; a dictionary that stores its directions returns them.
    ///
    /// # Shapes
    ///
    /// - output: `[F, D]`
    fn directions(&self) -> Tensor<2> {
        let device = self.device();
        let units = Tensor::<2>::eye(self.n_latents(), &device); // [F, F]
        let offset = self.decode(Tensor::<2>::zeros([1, self.n_latents()], &device)); // [1, D]
        self.decode(units) - offset // [F, D]
    }
}

/// A dictionary that reads its codes from activations.
pub trait Encoder: Dictionary {
    /// Codes of activations.
    ///
    /// # Shapes
    ///
    /// - activations: `[B, D]`
    /// - output: `[B, F]`
    fn encode(&self, activations: Tensor<2>) -> Tensor<2>;

    /// How codes follow a change of the activations, to first order: latents that are not active do not change. None where that is not
    /// known of the dictionary.
    ///
    /// # Shapes
    ///
    /// - activations: `[B, D]`
    /// - change: of each activation, `[B, D]`
    /// - output: `[B, F]`
    fn code_change(&self, _activations: Tensor<2>, _change: Tensor<2>) -> Option<Tensor<2>> {
        None
    }
}

/// A dictionary that is given a label `L` of every row beside its activation: a supervised one reads its codes from labels. Every
/// [`Encoder`] is one, and does not look at them.
pub trait LabelledEncoder<L>: Dictionary {
    /// Codes of activations with one label per row.
    ///
    /// # Shapes
    ///
    /// - activations: `[B, D]`
    /// - labels: `B`
    /// - output: `[B, F]`
    fn encode_labelled(&self, activations: Tensor<2>, labels: &[L]) -> Tensor<2>;

    /// The dictionary as an [`Encoder`], if it reads its codes from activations alone.
    fn as_encoder(&self) -> Option<&dyn Encoder>;
}

impl<L, D: Encoder> LabelledEncoder<L> for D {
    fn encode_labelled(&self, activations: Tensor<2>, _: &[L]) -> Tensor<2> {
        self.encode(activations)
    }

    fn as_encoder(&self) -> Option<&dyn Encoder> {
        Some(self)
    }
}
