//! The fit config: the file as written ([`FitFile`]) and what it means ([`FitConfig`]).

use std::fmt;

use serde::{Deserialize, Serialize};
use tasks::Attribute;

use crate::Error;

/// How the features of a dictionary are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Conditional means: the paper's main method.
    Mean,
    /// Least squares: the best reconstruction that the attributes allow.
    LeastSquares,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 2] = [Self::Mean, Self::LeastSquares];

    /// Name of the dictionary in run folders and reports: `supervised-mean`, `supervised-lstsq`.
    pub fn dictionary_name(self) -> &'static str {
        match self {
            Self::Mean => "supervised-mean",
            Self::LeastSquares => "supervised-lstsq",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Mean => "mean",
            Self::LeastSquares => "least-squares",
        })
    }
}

/// A fit config file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitFile {
    /// The methods, each giving one dictionary per node: `"mean"`, `"least-squares"`. Default both, as in the paper.
    pub methods: Option<Vec<Method>>,
    /// The attributes that get features: `"IO"`, `"S"`, `"Pos"`. Default all: what is left out cannot be edited.
    pub attributes: Option<Vec<Attribute>>,
}

/// A fit config whose fields are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitConfig {
    /// The methods, at least one, each once.
    pub methods: Vec<Method>,
    /// The attributes, at least one, each once, in the order of [`Attribute::ALL`].
    pub attributes: Vec<Attribute>,
}

impl FitConfig {
    /// What [`crate::fit`] takes: the number of values of each attribute, 0 for those that are left out.
    pub fn n_values(&self, all: [usize; 3]) -> [usize; 3] {
        let mut n_values = [0; 3];
        for ((kept, n), attribute) in n_values.iter_mut().zip(all).zip(Attribute::ALL) {
            *kept = if self.attributes.contains(&attribute) { n } else { 0 };
        }
        n_values
    }
}

impl TryFrom<FitFile> for FitConfig {
    type Error = Error;

    fn try_from(file: FitFile) -> Result<Self, Error> {
        let empty = |field| Error::Config {
            field,
            reason: "is empty, at least one is needed".to_owned(),
        };
        let methods = file.methods.unwrap_or_else(|| Method::ALL.to_vec());
        let methods: Vec<Method> = Method::ALL
            .into_iter()
            .filter(|method| methods.contains(method))
            .collect();
        let asked = file.attributes.unwrap_or_else(|| Attribute::ALL.to_vec());
        let attributes: Vec<Attribute> = Attribute::ALL
            .into_iter()
            .filter(|attribute| asked.contains(attribute))
            .collect();
        match (methods.is_empty(), attributes.is_empty()) {
            (true, _) => Err(empty("methods")),
            (_, true) => Err(empty("attributes")),
            _ => Ok(Self { methods, attributes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_completed_or_refused() {
        let config = FitConfig::try_from(serde_json::from_str::<FitFile>("{}").unwrap()).unwrap();
        assert_eq!(
            (config.methods.as_slice(), config.attributes.len()),
            (Method::ALL.as_slice(), 3)
        );
        let file = r#"{ "methods": ["least-squares"], "attributes": ["Pos", "IO"] }"#;
        let config = FitConfig::try_from(serde_json::from_str::<FitFile>(file).unwrap()).unwrap();
        assert_eq!(config.methods, [Method::LeastSquares]);
        assert_eq!(config.n_values([7, 8, 2]), [7, 0, 2]);
        let empty = serde_json::from_str::<FitFile>(r#"{ "methods": [] }"#).unwrap();
        assert!(
            FitConfig::try_from(empty)
                .unwrap_err()
                .to_string()
                .contains("`methods`")
        );
        assert!(serde_json::from_str::<FitFile>(r#"{ "method": ["mean"] }"#).is_err());
    }
}
