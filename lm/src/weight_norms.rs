//! How large the matrices are that read and write the residual stream: Frobenius norms, without any text.
//!
//! A reading matrix counts with the factors of the norm before it, and a writing one with those of the norm behind it, where there are
//! such norms.
//!
//! Shapes: `D` d_model, `H` heads (`K` of keys and values), `Dh` d_head, `M` d_mlp, `V` d_vocab.

use burn::tensor::Tensor;
use kernels::Weight;

use crate::entry::{Part, Slot};
use crate::{Model, NormAt};

/// Frobenius norms of the matrices of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockNorms {
    /// Of the queries of each head, `H`.
    pub queries: Vec<f64>,
    /// Of the keys of each head, `K`.
    pub keys: Vec<f64>,
    /// Of the values of each head, `K`.
    pub values: Vec<f64>,
    /// Of what each head writes, `H`.
    pub heads: Vec<f64>,
    /// Of the first layer of the MLP, gate and linear part together.
    pub mlp_in: f64,
    /// Of its second layer.
    pub mlp_out: f64,
}

/// Frobenius norms of all matrices that read or write the residual stream.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightNorms {
    /// Of the token embedding.
    pub embed: f64,
    /// Of the unembedding.
    pub unembed: f64,
    /// Of each block.
    pub blocks: Vec<BlockNorms>,
}

impl Model {
    /// Frobenius norms of all matrices that read or write the residual stream.
    pub fn weight_norms(&self) -> WeightNorms {
        let spec = self.spec();
        let (d, h, k, width) = (spec.d_model, spec.n_head, spec.n_kv_head, spec.d_head);
        let ones = || Tensor::<1>::ones([d], self.device());
        let factors = |at| self.norm_factors(at).unwrap_or_else(ones);
        // Of a matrix [rows, D] with a factor for each column, the norm of every `of` rows.
        let by_rows = |matrix: Tensor<2>, factors: Tensor<1>, of: usize| -> Vec<f64> {
            let [rows, d] = matrix.dims();
            let squares = (matrix * factors.reshape([1, d])).square().reshape([rows / of, of * d]); // [rows / of, of D]
            let sums = kernels::to_vec(squares.sum_dim(1));
            sums.into_iter().map(|sum| f64::from(sum).sqrt()).collect()
        };
        let linear = |slot| self.weights().linear(slot).weight.widened();
        let blocks = (0..spec.n_layer).map(|l| {
            let slot = |part| Slot::Block(l, part);
            let qkv = linear(slot(Part::Qkv)).transpose(); // [(H + 2 K) Dh, D]
            let mut queries = by_rows(qkv, factors(NormAt::Ln1(l)), width);
            let values = queries.split_off(h + k);
            let keys = queries.split_off(h);
            let mlp_in = linear(slot(Part::MlpIn)).transpose(); // [M or 2 M, D]
            let rows = mlp_in.dims()[0];
            BlockNorms {
                queries,
                keys,
                values,
                heads: by_rows(linear(slot(Part::AttnOut)), factors(NormAt::Ln1Post(l)), width),
                mlp_in: by_rows(mlp_in, factors(NormAt::Ln2(l)), rows)[0],
                mlp_out: by_rows(linear(slot(Part::MlpOut)), factors(NormAt::Ln2Post(l)), spec.d_mlp)[0],
            }
        });
        let table = |slot: Slot, factors: Tensor<1>| -> f64 {
            let matrix = self.weights().matrix(slot).map(Weight::widened);
            matrix.map_or(0.0, |matrix| {
                let rows = matrix.dims()[0];
                by_rows(matrix, factors, rows)[0]
            })
        };
        let unembed = if spec.tied { Slot::Embed } else { Slot::Unembed };
        WeightNorms {
            embed: table(Slot::Embed, ones()) * spec.embed_scale.unwrap_or(1.0),
            unembed: table(unembed, factors(NormAt::Final)),
            blocks: blocks.collect(),
        }
    }
}
