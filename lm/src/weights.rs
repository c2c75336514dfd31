//! The parameters of a model, and the way between them and a checkpoint.
//!
//! Matrices lie here as `[in, out]`, the layout of the product `x · W`; queries, keys and values side by side, and gate and up.
//! They are kept in the type that was asked for, vectors (norms and biases) in `f32`.

use std::collections::BTreeMap;

use artifacts::HostTensor;
use burn::tensor::{Device, Tensor};
use kernels::{Half, UsedAs, Weight};

use crate::checkpoint::Tensors;
use crate::entry::{Entry, Form, Kind, Slot};
use crate::families::entries;
use crate::{Dtype, Error, Spec};

/// A parameter on its device.
#[derive(Debug, Clone)]
pub(crate) enum Parameter {
    /// `[in, out]`, or the table of an embedding.
    Matrix(Weight),
    /// A bias, a scale or a shift.
    Vector(Tensor<1>),
}

/// A linear layer `x · weight + bias`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear<'a> {
    pub(crate) weight: &'a Weight,          // [in, out]
    pub(crate) bias: Option<&'a Tensor<1>>, // [out]
}

/// Scale of a norm, and the shift of a layer norm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) scale: &'a Tensor<1>,
    pub(crate) shift: Option<&'a Tensor<1>>,
}

/// All parameters of a model.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    parameters: BTreeMap<(Slot, Kind), Parameter>,
}

impl Weights {
    /// Reads every parameter of `spec` out of a checkpoint, one piece of one tensor at a time; matrices are kept in `dtype`.
    ///
    /// # Errors
    ///
    /// A number that is NaN or infinite, here or in `dtype`, or what the checkpoint itself refuses.
    pub(crate) fn load(spec: &Spec, tensors: &dyn Tensors, dtype: Dtype, device: &Device) -> Result<Self, Error> {
        let mut parameters = BTreeMap::new();
        let mut entries = entries(spec);
        if tensors.norms_include_one() {
            let as_used = entries.iter_mut().filter(|entry| entry.form == Form::PlusOne);
            as_used.for_each(|entry| entry.form = Form::AsStored);
        }
        let mut rest = entries.as_slice();
        // Tensors that are columns of one parameter follow each other.
        while let Some(entry) = rest.first() {
            let key = (entry.slot, entry.kind);
            let n = rest.iter().take_while(|entry| (entry.slot, entry.kind) == key).count();
            let (group, others) = rest.split_at(n);
            rest = others;
            parameters.insert(key, parameter(group, tensors, dtype.half(), device)?);
        }
        Ok(Self { parameters })
    }

    /// The parameters under their names in a checkpoint, in host memory.
    pub(crate) fn to_host(&self, spec: &Spec) -> BTreeMap<String, HostTensor> {
        let numbers: BTreeMap<_, Vec<f32>> = self
            .parameters
            .iter()
            .map(|(key, parameter)| {
                let numbers = match parameter {
                    Parameter::Matrix(matrix) => kernels::to_vec(matrix.widened()),
                    Parameter::Vector(vector) => kernels::to_vec(vector.clone()),
                };
                (*key, numbers)
            })
            .collect();
        let tensors = entries(spec).into_iter().map(|entry| {
            let tensor = entry.taken_from(&numbers[&(entry.slot, entry.kind)]);
            (entry.name, tensor)
        });
        tensors.collect()
    }

    /// The parameters of rank 2 that are kept in `f32`, in training all of them, and those of rank 1, each in the order of their
    /// slots.
    pub(crate) fn parameters_mut(&mut self) -> (Vec<&mut Tensor<2>>, Vec<&mut Tensor<1>>) {
        let (mut matrices, mut vectors) = (Vec::new(), Vec::new());
        for parameter in self.parameters.values_mut() {
            match parameter {
                Parameter::Matrix(matrix) => matrices.extend(matrix.full_mut()),
                Parameter::Vector(vector) => vectors.push(vector),
            }
        }
        (matrices, vectors)
    }

    /// The same weights in `f32`, where operations on them are recorded for a backward pass; they themselves get no gradients.
    pub(crate) fn recorded(&self) -> Self {
        let parameters = self.parameters.iter().map(|(key, parameter)| {
            let recorded = match parameter {
                Parameter::Matrix(matrix) => Parameter::Matrix(matrix.widened().autodiff().into()),
                Parameter::Vector(vector) => Parameter::Vector(vector.clone().autodiff()),
            };
            (*key, recorded)
        });
        Self {
            parameters: parameters.collect(),
        }
    }

    /// A matrix that the spec says is there.
    pub(crate) fn matrix(&self, slot: Slot) -> Option<&Weight> {
        match self.parameters.get(&(slot, Kind::Weight)) {
            Some(Parameter::Matrix(matrix)) => Some(matrix),
            _ => None,
        }
    }

    fn vector(&self, slot: Slot, kind: Kind) -> Option<&Tensor<1>> {
        match self.parameters.get(&(slot, kind)) {
            Some(Parameter::Vector(vector)) => Some(vector),
            _ => None,
        }
    }

    /// A linear layer.
    #[expect(clippy::expect_used, reason = "a model without its layers is a bug of its family")]
    pub(crate) fn linear(&self, slot: Slot) -> Linear<'_> {
        Linear {
            weight: self.matrix(slot).expect("every linear layer is an entry of its family"),
            bias: self.vector(slot, Kind::Bias),
        }
    }

    /// A norm.
    #[expect(clippy::expect_used, reason = "a model without its norms is a bug of its family")]
    pub(crate) fn norm(&self, slot: Slot) -> Norm<'_> {
        Norm {
            scale: self
                .vector(slot, Kind::Weight)
                .expect("every norm is an entry of its family"),
            shift: self.vector(slot, Kind::Bias),
        }
    }
}

/// The parameter that the tensors of `group` are columns of.
fn parameter(group: &[Entry], tensors: &dyn Tensors, half: Option<Half>, device: &Device) -> Result<Parameter, Error> {
    let (slot, shape) = (group[0].slot, group[0].parameter_shape());
    let n = shape.iter().product();
    if let (Some(half), [rows, columns]) = (half, shape.as_slice()) {
        let mut bits = vec![0; n];
        for entry in group {
            // One function for each type, so that the choice is not made anew for each number.
            match half {
                Half::Bf16 => read_into(entry, tensors, &mut bits, Some(half), |x| Half::Bf16.narrow(x))?,
                Half::F16 => read_into(entry, tensors, &mut bits, Some(half), |x| Half::F16.narrow(x))?,
            }
        }
        let used_as = match slot {
            Slot::Embed | Slot::PosEmbed | Slot::Unembed => UsedAs::Table,
            Slot::Block(..) | Slot::FinalNorm => UsedAs::Layer,
        };
        let weight = Weight::of_halves(half, bits, [*rows, *columns], used_as, device);
        return Ok(Parameter::Matrix(weight));
    }
    let mut numbers = vec![0.0; n];
    for entry in group {
        read_into(entry, tensors, &mut numbers, None, |number| number)?;
    }
    Ok(match shape.as_slice() {
        [rows, columns] => Parameter::Matrix(kernels::from_vec::<2>(numbers, [*rows, *columns], device).into()),
        _ => Parameter::Vector(kernels::from_vec(numbers, [n], device)),
    })
}

/// Reads one tensor into the parameter that it belongs to, whose numbers are kept as `keep` makes them, in the type `half`.
fn read_into<T: Copy + Send>(
    entry: &Entry,
    tensors: &dyn Tensors,
    parameter: &mut [T],
    half: Option<Half>,
    keep: impl Fn(f32) -> T + Sync,
) -> Result<(), Error> {
    let (mut at, mut finite, mut largest) = (0, true, 0.0_f32);
    tensors.read(&entry.name, &mut |numbers| {
        finite &= numbers.iter().all(|number| number.is_finite());
        largest = numbers
            .iter()
            .fold(largest, |largest, number| largest.max(number.abs()));
        entry.place(at, numbers, parameter, &keep);
        at += numbers.len();
    })?;
    let name = || tensors.stored_name(&entry.name);
    let reason = match half {
        _ if !finite => format!("`{}` holds NaN or infinity", name()),
        Some(half) if !half.holds(largest) => {
            let dtype = Dtype::from(half);
            format!(
                "`{}` holds {largest:e}, which is too large for {dtype}; load it in another dtype",
                name()
            )
        }
        _ => return Ok(()),
    };
    Err(artifacts::Error::format(&tensors.path(), reason).into())
}

/// Weights that any language computes alike, to compare implementations at full size without a download.
///
/// Element `i` of the tensor at place `t` of the family's entries is a 32-bit hash of `i + t * 0x9e3779b9` (two rounds of multiply
/// and xor-shift: constants 0x7feb352d and 0x846ca68b, shifts 16, 15, 16), of which the upper 24 bits are read as a number `u` from
/// -1/2 to 1/2. It is `1 + u / 4` for the scale of a norm, else `u / 8`.
/// `scripts/gpt2_geometry.py` and `scripts/llama_geometry.py` do the same.
pub(crate) fn hashed(spec: &Spec) -> BTreeMap<String, HostTensor> {
    let number = |element: u32, place: u32| {
        let mut hash = element.wrapping_add(place.wrapping_mul(0x9e37_79b9));
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x7feb_352d);
        hash = (hash ^ (hash >> 15)).wrapping_mul(0x846c_a68b);
        hash ^= hash >> 16;
        (hash >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let tensor = |(place, entry): (u32, Entry)| {
        let is_scale = entry.shape.len() == 1 && entry.kind == Kind::Weight;
        let (offset, factor) = if is_scale { (1.0, 0.25) } else { (0.0, 0.125) };
        let n: usize = entry.shape.iter().product();
        let data = (0..n as u32)
            .map(|element| offset + factor * number(element, place))
            .collect();
        (
            entry.name,
            HostTensor {
                shape: entry.shape,
                data,
            },
        )
    };
    (0_u32..).zip(entries(spec)).map(tensor).collect()
}
