//! Tensors of checkpoints and the parameters that they hold.

use artifacts::HostTensor;
use rayon::prelude::*;

/// A part of a block that has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Norm before attention.
    AttnNorm,
    /// Queries, keys and values side by side, `[D, (H + 2 K) Dh]`.
    Qkv,
    /// Norm of every head of queries, `[Dh]`.
    QNorm,
    /// Norm of every head of keys, `[Dh]`.
    KNorm,
    /// Output of attention, `[H Dh, D]`.
    AttnOut,
    /// Norm of what attention adds.
    AttnPostNorm,
    /// Norm before the MLP.
    MlpNorm,
    /// First layer of the MLP, `[D, M]`; gate and up side by side, `[D, 2 M]`, where it is gated.
    MlpIn,
    /// Second layer of the MLP, `[M, D]`.
    MlpOut,
    /// Norm of what the MLP adds.
    MlpPostNorm,
}

/// A place among the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// Token embedding, `[V, D]`.
    Embed,
    /// Position embedding, `[n_ctx, D]`.
    PosEmbed,
    /// A part of block `l`.
    Block(usize, Part),
    /// The last norm.
    FinalNorm,
    /// An unembedding that is not the embedding, `[V, D]`.
    Unembed,
}

/// Which parameter of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Matrix of a linear layer, table of an embedding, or scale of a norm.
    Weight,
    /// Bias of a linear layer, or shift of a norm.
    Bias,
}

/// How a tensor of a checkpoint becomes a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// It is the parameter, or the columns of it at which it begins.
    AsStored,
    /// `[out, in]` in the checkpoint, `[in, out]` here.
    Transposed,
    /// The parameter less 1.
    PlusOne,
    /// Queries, keys and values of one head beside those of the next; here all queries, all keys, all values.
    HeadsOfQkv {
        /// Heads.
        heads: usize,
        /// A matrix, `[out, in]` in the checkpoint.
        transposed: bool,
    },
}

/// One tensor of a checkpoint and the parameter, or the columns of a parameter, that it holds.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Name without the prefix of the whole model.
    pub(crate) name: String,
    /// Shape in the checkpoint.
    pub(crate) shape: Vec<usize>,
    pub(crate) slot: Slot,
    pub(crate) kind: Kind,
    pub(crate) form: Form,
    /// The first column of the parameter that it holds, and the columns of the whole parameter.
    columns: (usize, usize),
}

impl Entry {
    /// A matrix as it lies in the checkpoint.
    pub(crate) fn matrix(name: &str, slot: Slot, shape: [usize; 2]) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            slot,
            kind: Kind::Weight,
            form: Form::AsStored,
            columns: (0, shape[1]),
        }
    }

    /// A vector as it lies in the checkpoint.
    pub(crate) fn vector(name: &str, slot: Slot, kind: Kind, len: usize) -> Self {
        Self {
            shape: vec![len],
            kind,
            columns: (0, len),
            ..Self::matrix(name, slot, [1, len])
        }
    }

    /// A linear layer of `from` inputs and `to` outputs: its matrix, `[out, in]` in the checkpoint, or its bias.
    pub(crate) fn columns(name: &str, slot: Slot, kind: Kind, from: usize, to: usize) -> Self {
        match kind {
            Kind::Bias => Self::vector(name, slot, kind, to),
            Kind::Weight => Self {
                form: Form::Transposed,
                columns: (0, to),
                ..Self::matrix(name, slot, [to, from])
            },
        }
    }

    /// The entry of a tensor that is part of a wider parameter: its columns.
    pub(crate) fn at_column(self, first: usize, of: usize) -> Self {
        Self {
            columns: (first, of),
            ..self
        }
    }

    /// The entry of a tensor that a checkpoint keeps in another form.
    pub(crate) fn in_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// Whether the matrix is stored with its outputs as rows.
    fn is_transposed(&self) -> bool {
        matches!(self.form, Form::Transposed | Form::HeadsOfQkv { transposed: true, .. })
    }

    /// Shape of the whole parameter.
    pub(crate) fn parameter_shape(&self) -> Vec<usize> {
        match (self.shape.as_slice(), self.is_transposed()) {
            ([_, inputs], true) => vec![*inputs, self.columns.1],
            ([rows, _], false) => vec![*rows, self.columns.1],
            _ => vec![self.columns.1],
        }
    }

    /// Column of the parameter of output `output` of this tensor.
    fn column(&self, output: usize) -> usize {
        let (first, of) = self.columns;
        match self.form {
            Form::HeadsOfQkv { heads, .. } => {
                let (width, of_part) = (of / 3 / heads, of / 3);
                let (head, within) = (output / (3 * width), output % (3 * width));
                first + (within / width) * of_part + head * width + within % width
            }
            _ => first + output,
        }
    }

    /// Number of outputs of this tensor, each a column of the parameter.
    fn outputs(&self) -> usize {
        match (self.shape.as_slice(), self.is_transposed()) {
            ([outputs, _], true) => *outputs,
            (shape, _) => shape.last().copied().unwrap_or(0),
        }
    }

    /// Puts numbers of this tensor, from number `at` on, into their places in the parameter, as `keep` makes them.
    pub(crate) fn place<T: Copy + Send>(
        &self,
        at: usize,
        numbers: &[f32],
        parameter: &mut [T],
        keep: impl Fn(f32) -> T + Sync,
    ) {
        let (first, of) = self.columns;
        if !self.is_transposed() {
            let outputs = self.outputs();
            if self.form == Form::AsStored && outputs == of {
                let places = &mut parameter[at..at + numbers.len()];
                places
                    .iter_mut()
                    .zip(numbers)
                    .for_each(|(to, number)| *to = keep(*number));
                return;
            }
            let add = if self.form == Form::PlusOne { 1.0 } else { 0.0 };
            for (i, number) in (at..).zip(numbers) {
                parameter[i / outputs * of + self.column(i % outputs)] = keep(number + add);
            }
            return;
        }
        let inputs = self.shape[1];
        // The rows of the parameter are the inputs; each thread writes its own.
        parameter.par_chunks_mut(of).enumerate().for_each(|(input, row)| {
            // The first number of this input in the piece.
            let mut i = (inputs + input - at % inputs) % inputs;
            while let Some(number) = numbers.get(i) {
                let output = (at + i) / inputs;
                let column = match self.form {
                    Form::Transposed => first + output,
                    _ => self.column(output),
                };
                row[column] = keep(*number);
                i += inputs;
            }
        });
    }

    /// This tensor, as the checkpoint holds it, out of the whole parameter.
    pub(crate) fn taken_from(&self, parameter: &[f32]) -> HostTensor {
        let of = self.columns.1;
        let n: usize = self.shape.iter().product();
        let (outputs, transposed) = (self.outputs(), self.is_transposed());
        let inputs = n / outputs.max(1);
        let subtract = if self.form == Form::PlusOne { 1.0 } else { 0.0 };
        let number = |i: usize| {
            let (input, output) = if transposed {
                (i % inputs, i / inputs)
            } else {
                (i / outputs, i % outputs)
            };
            parameter[input * of + self.column(output)] - subtract
        };
        HostTensor::new(self.shape.clone(), (0..n).map(number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_back_as_they_were_whatever_the_pieces() {
        let qkv = Slot::Block(0, Part::Qkv);
        let cases: Vec<Vec<Entry>> = vec![
            vec![Entry::matrix("a", Slot::Embed, [5, 3])],
            vec![
                Entry::columns("q", qkv, Kind::Weight, 3, 4).at_column(0, 8),
                Entry::columns("k", qkv, Kind::Weight, 3, 2).at_column(4, 8),
                Entry::columns("v", qkv, Kind::Weight, 3, 2).at_column(6, 8),
            ],
            vec![
                Entry::columns("q", qkv, Kind::Bias, 3, 4).at_column(0, 6),
                Entry::columns("k", qkv, Kind::Bias, 3, 2).at_column(4, 6),
            ],
            vec![Entry::vector("n", Slot::FinalNorm, Kind::Weight, 7).in_form(Form::PlusOne)],
            vec![Entry {
                form: Form::HeadsOfQkv {
                    heads: 2,
                    transposed: true,
                },
                ..Entry::columns("qkv", qkv, Kind::Weight, 4, 12)
            }],
        ];
        for group in cases {
            for piece in [1, 2, 3, 1000] {
                let mut parameter = vec![f32::NAN; group[0].parameter_shape().iter().product()];
                let tensors: Vec<HostTensor> = (1..)
                    .zip(&group)
                    .map(|(which, entry)| {
                        let n: usize = entry.shape.iter().product();
                        let data = (0..n).map(|i| (which * 100 + i) as f32).collect();
                        HostTensor::new(entry.shape.clone(), data)
                    })
                    .collect();
                for (entry, tensor) in group.iter().zip(&tensors) {
                    for (index, numbers) in tensor.data.chunks(piece).enumerate() {
                        entry.place(index * piece, numbers, &mut parameter, |number| number);
                    }
                }
                assert!(parameter.iter().all(|number| !number.is_nan()), "{group:?}");
                for (entry, tensor) in group.iter().zip(&tensors) {
                    assert_eq!(entry.taken_from(&parameter), *tensor, "{}", entry.name);
                }
            }
        }
    }

    #[test]
    fn heads_of_neox_are_sorted_into_queries_keys_and_values() {
        let entry = Entry {
            form: Form::HeadsOfQkv {
                heads: 2,
                transposed: false,
            },
            ..Entry::vector("qkv", Slot::Block(0, Part::Qkv), Kind::Bias, 12)
        };
        let mut parameter = vec![0.0; 12];
        // Head 0: queries 0 1, keys 2 3, values 4 5; head 1 from 6 on.
        let stored: Vec<f32> = (0..12).map(|i| i as f32).collect();
        entry.place(0, &stored, &mut parameter, |number| number);
        let expected = [0.0, 1.0, 6.0, 7.0, 2.0, 3.0, 8.0, 9.0, 4.0, 5.0, 10.0, 11.0];
        assert_eq!(parameter, expected);
    }
}
