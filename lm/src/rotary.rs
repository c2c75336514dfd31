//! Rotary position embeddings: the angle by which each pair of numbers of a head turns from one position to the next.

use serde::Serialize;

/// How the frequencies of a model are changed for contexts longer than those it was first trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scaling {
    /// They are not.
    None,
    /// All are divided by one factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Low frequencies are divided by the factor, high ones stay, those between are blended (Llama 3).
    Llama3 {
        /// The factor of low frequencies.
        factor: f64,
        /// Wavelengths beyond `original / low` are long.
        low: f64,
        /// Wavelengths below `original / high` are short.
        high: f64,
        /// Context of the first training.
        original: f64,
    },
    /// YaRN (arXiv 2309.00071).
    Yarn {
        /// The factor of low frequencies.
        factor: f64,
        /// Rotations within the original context from which on a frequency stays.
        beta_fast: f64,
        /// Rotations within the original context below which a frequency is divided by the whole factor.
        beta_slow: f64,
        /// Context of the first training.
        original: f64,
        /// Factor of cosines and sines.
        attention_factor: f64,
        /// The borders of the blend are whole numbers of pairs.
        truncate: bool,
    },
    /// Each frequency is divided by a number of its own (the form of a GGUF file).
    Divided {
        /// The divisors, one for each pair.
        by: Vec<f32>,
    },
}

/// Rotation of queries and keys by their positions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rotary {
    /// Base of the frequencies.
    pub theta: f64,
    /// Numbers of a head that are turned, an even number; the rest stay as they are.
    pub dims: usize,
    /// Change of the frequencies.
    pub scaling: Scaling,
}

impl Rotary {
    /// Angle from one position to the next of each pair, in radians, `[dims / 2]`.
    pub fn frequencies(&self) -> Vec<f64> {
        let pairs = self.dims / 2;
        let plain = (0..pairs).map(|i| self.theta.powf(-2.0 * i as f64 / self.dims as f64));
        match &self.scaling {
            Scaling::None => plain.collect(),
            Scaling::Linear { factor } => plain.map(|frequency| frequency / factor).collect(),
            Scaling::Divided { by } => plain.zip(by).map(|(f, by)| f / f64::from(*by)).collect(),
            &Scaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => plain
                .map(|frequency| {
                    let wavelength = 2.0 * std::f64::consts::PI / frequency;
                    if wavelength < original / high {
                        frequency
                    } else if wavelength > original / low {
                        frequency / factor
                    } else {
                        let share = (original / wavelength - low) / (high - low);
                        (1.0 - share) * frequency / factor + share * frequency
                    }
                })
                .collect(),
            &Scaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                original,
                truncate,
                ..
            } => {
                // The pair that turns so many times within the original context.
                let pair = |rotations: f64| {
                    self.dims as f64 * (original / (rotations * 2.0 * std::f64::consts::PI)).ln()
                        / (2.0 * self.theta.ln())
                };
                let (mut from, mut to) = (pair(beta_fast), pair(beta_slow));
                if truncate {
                    (from, to) = (from.floor(), to.ceil());
                }
                let (from, mut to) = (from.max(0.0), to.min(self.dims as f64 - 1.0));
                if from == to {
                    to += 0.001;
                }
                plain
                    .enumerate()
                    .map(|(i, frequency)| {
                        let ramp = ((i as f64 - from) / (to - from)).clamp(0.0, 1.0);
                        frequency * (1.0 - ramp) + ramp * frequency / factor
                    })
                    .collect()
            }
        }
    }

    /// Factor of cosines and sines.
    pub fn attention_factor(&self) -> f64 {
        match self.scaling {
            Scaling::Yarn { attention_factor, .. } => attention_factor,
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frequencies that `transformers` computes (`fixtures/smollm2-golden.json`, `beyond_smollm2.rope`).
    #[test]
    fn frequencies_are_those_of_transformers() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rope-golden.json");
        let golden: serde_json::Value = artifacts::read_json(&path).unwrap();
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        for (kind, case) in golden.as_object().unwrap() {
            let parameters = &case["parameters"];
            let get = |key: &str| number(&parameters[key]);
            let scaling = match kind.as_str() {
                "llama3" => Scaling::Llama3 {
                    factor: get("factor"),
                    low: get("low_freq_factor"),
                    high: get("high_freq_factor"),
                    original: get("original_max_position_embeddings"),
                },
                "linear" => Scaling::Linear { factor: get("factor") },
                "yarn" => Scaling::Yarn {
                    factor: get("factor"),
                    beta_fast: 32.0,
                    beta_slow: 1.0,
                    original: get("original_max_position_embeddings"),
                    attention_factor: number(&case["cos_sin_factor"]),
                    truncate: true,
                },
                other => panic!("{other}"),
            };
            let rotary = Rotary {
                theta: get("rope_theta"),
                dims: case["head_dim"].as_u64().unwrap() as usize,
                scaling,
            };
            let expected: Vec<f64> = case["inv_freq"].as_array().unwrap().iter().map(number).collect();
            let found = rotary.frequencies();
            assert_eq!(found.len(), expected.len(), "{kind}");
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found / expected - 1.0).abs() < 1e-5, "{kind}: {found} {expected}");
            }
        }
    }
}
