//! Rotary positions in a `config.json`, in the spellings before and since transformers 5.

use serde_json::{Map, Value};

use super::config::Config;
use crate::Error;
use crate::rotary::{Rotary, Scaling};

/// Where the keys of one kind of layer are.
pub(super) struct Keys<'a> {
    /// The kind, under whose name `rope_parameters` may hold a table of its own.
    pub(super) kind: Option<&'a str>,
    /// Top-level key of the base.
    pub(super) theta: &'a str,
    /// The base where none is given.
    pub(super) default_theta: f64,
    /// Whether `rope_scaling` is of this kind of layer.
    pub(super) scaled: bool,
    /// Numbers of a head that are turned.
    pub(super) dims: usize,
    /// Positions of the model.
    pub(super) n_ctx: usize,
}

/// The rotation that the keys describe.
pub(super) fn rotary(config: &Config, keys: &Keys<'_>) -> Result<Rotary, Error> {
    let empty = Map::new();
    let top = config.number_or(keys.theta, keys.default_theta)?;
    let mut parameters = object(config, "rope_parameters")?.unwrap_or(&empty);
    if let Some(kind) = keys.kind
        && let Some(Value::Object(own)) = parameters.get(kind)
    {
        parameters = own;
    }
    let old = object(config, "rope_scaling")?.filter(|_| keys.scaled);
    let parameters = if parameters.is_empty() {
        old.unwrap_or(&empty)
    } else {
        parameters
    };
    let table = Table { config, parameters };
    let theta = table.number("rope_theta")?.unwrap_or(top);
    let scaling = table.scaling(keys.n_ctx as f64)?;
    Ok(Rotary {
        theta,
        dims: keys.dims,
        scaling,
    })
}

/// The share of a head that is turned.
pub(super) fn partial(config: &Config, key: &str, default: f64) -> Result<f64, Error> {
    let top = config.number_or(key, default)?;
    let parameters = object(config, "rope_parameters")?;
    match parameters.and_then(|parameters| parameters.get("partial_rotary_factor")) {
        None | Some(Value::Null) => Ok(top),
        Some(value) => match value.as_f64() {
            Some(share) if share > 0.0 && share <= 1.0 => Ok(share),
            _ => Err(config.unsupported("partial_rotary_factor", value, "a number above 0, at most 1")),
        },
    }
}

fn object<'a>(config: &'a Config, key: &str) -> Result<Option<&'a Map<String, Value>>, Error> {
    match config.get(key) {
        Value::Null => Ok(None),
        Value::Object(object) => Ok(Some(object)),
        other => Err(config.unsupported(key, other, "a table")),
    }
}

/// One table of rotary parameters.
struct Table<'a> {
    config: &'a Config,
    parameters: &'a Map<String, Value>,
}

impl Table<'_> {
    fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.parameters.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
                _ => Err(self.config.unsupported(key, value, "a number above 0")),
            },
        }
    }

    fn needed(&self, key: &str) -> Result<f64, Error> {
        self.number(key)?.ok_or_else(|| {
            self.config
                .unsupported(key, "not there", "a number, which this kind of rope needs")
        })
    }

    fn scaling(&self, n_ctx: f64) -> Result<Scaling, Error> {
        let kind = ["rope_type", "type"].iter().find_map(|key| self.parameters.get(*key));
        let kind = match kind {
            None | Some(Value::Null) => "default",
            Some(value) => value.as_str().unwrap_or("not a word"),
        };
        let known: &[&str] = match kind {
            "default" => &[],
            "linear" => &["factor"],
            "llama3" => &[
                "factor",
                "low_freq_factor",
                "high_freq_factor",
                "original_max_position_embeddings",
            ],
            "yarn" => &[
                "factor",
                "beta_fast",
                "beta_slow",
                "original_max_position_embeddings",
                "attention_factor",
                "truncate",
            ],
            "divided" => &["divisors"],
            _ => {
                let supported = "default, linear, llama3 or yarn";
                return Err(self.config.unsupported("rope_type", kind, supported));
            }
        };
        let always = ["rope_type", "type", "rope_theta", "partial_rotary_factor"];
        let stray = self
            .parameters
            .iter()
            .find(|(key, value)| !(always.contains(&key.as_str()) || known.contains(&key.as_str()) || value.is_null()));
        if let Some((key, value)) = stray {
            return Err(self.config.unsupported(key, value, "no such key for this kind of rope"));
        }
        let original =
            || -> Result<f64, Error> { Ok(self.number("original_max_position_embeddings")?.unwrap_or(n_ctx)) };
        Ok(match kind {
            "linear" => Scaling::Linear {
                factor: self.needed("factor")?,
            },
            "llama3" => {
                let (low, high) = (self.needed("low_freq_factor")?, self.needed("high_freq_factor")?);
                if low >= high {
                    let supported = "less than high_freq_factor";
                    return Err(self.config.unsupported("low_freq_factor", low, supported));
                }
                Scaling::Llama3 {
                    factor: self.needed("factor")?,
                    low,
                    high,
                    original: self.needed("original_max_position_embeddings")?,
                }
            }
            "yarn" => {
                let factor = self.needed("factor")?;
                Scaling::Yarn {
                    factor,
                    beta_fast: self.number("beta_fast")?.unwrap_or(32.0),
                    beta_slow: self.number("beta_slow")?.unwrap_or(1.0),
                    original: original()?,
                    attention_factor: self.number("attention_factor")?.unwrap_or(if factor > 1.0 {
                        0.1 * factor.ln() + 1.0
                    } else {
                        1.0
                    }),
                    truncate: self.parameters.get("truncate").and_then(Value::as_bool).unwrap_or(true),
                }
            }
            "divided" => Scaling::Divided { by: self.divisors()? },
            _ => Scaling::None,
        })
    }

    /// The divisors of the frequencies, which a GGUF file holds as a tensor.
    fn divisors(&self) -> Result<Vec<f32>, Error> {
        let values = self.parameters.get("divisors").and_then(Value::as_array);
        let numbers = values.map(|values| values.iter().map(Value::as_f64).collect::<Option<Vec<_>>>());
        match numbers.flatten() {
            Some(numbers) if numbers.iter().all(|number| *number > 0.0) => {
                Ok(numbers.into_iter().map(|number| number as f32).collect())
            }
            _ => Err(self.config.unsupported("divisors", "not a list", "numbers above 0")),
        }
    }
}
