//! The fit config: the file as written ([`FitFile`]) and what it means ([`FitConfig`]).

use std::fmt;

use serde::{Deserialize, Serialize};
use tasks::{Attribute, ByAttribute, Role};

use crate::{Columns, Error, Parametrization};

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

    /// Name of the dictionary in run folders and reports: `supervised-mean`, `supervised-lstsq-coupled`. The main
    /// parametrization, the independent one, is not named.
    pub fn dictionary_name(self, parametrization: Parametrization) -> String {
        let method = match self {
            Self::Mean => "supervised-mean",
            Self::LeastSquares => "supervised-lstsq",
        };
        match parametrization {
            Parametrization::Independent => method.to_owned(),
            other => format!("{method}-{other}"),
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
    /// What the features stand for, each giving one dictionary per node and method: `"independent"`, `"coupled"`, `"names"`.
    /// Default the independent one, the paper's main one.
    pub parametrizations: Option<Vec<Parametrization>>,
    /// The attributes that get features: `"IO"`, `"S"`, `"Pos"`; `"Gender"`, `"OtherGender"` of the pronoun task. Default all
    /// that the task edits: what is left out cannot be edited. Fewer than all only with the independent
    /// parametrization, the others are made of all three.
    pub attributes: Option<Vec<Attribute>>,
}

/// A fit config whose fields are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitConfig {
    /// The methods, at least one, each once.
    pub methods: Vec<Method>,
    /// The parametrizations, at least one, each once, in the order of [`Parametrization::ALL`].
    pub parametrizations: Vec<Parametrization>,
    /// The attributes, at least one, each once, in the order of [`Attribute::ALL`].
    pub attributes: Vec<Attribute>,
}

impl FitConfig {
    /// The latents of a dictionary at `role`; `all` is the number of values of each attribute of the prompts.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the prompts have none of the attributes; [`Error::Parametrization`] when the parametrization is
    /// not for their task.
    pub fn columns(&self, parametrization: Parametrization, all: ByAttribute, role: Role) -> Result<Columns, Error> {
        let kept = all.iter().filter(|(attribute, _)| self.attributes.contains(attribute));
        let n_values: ByAttribute = kept.collect();
        if n_values.attributes().next().is_none() {
            let known = all.attributes().map(|attribute| attribute.to_string());
            return Err(Error::Config {
                field: "attributes",
                reason: format!(
                    "names none of those that the task edits: {}",
                    known.collect::<Vec<_>>().join(", ")
                ),
            });
        }
        Columns::new(parametrization, n_values, role)
    }
}

impl TryFrom<FitFile> for FitConfig {
    type Error = Error;

    fn try_from(file: FitFile) -> Result<Self, Error> {
        let empty = |field| Error::Config {
            field,
            reason: "is empty, at least one is needed".to_owned(),
        };
        fn chosen<T: Copy + PartialEq, const N: usize>(all: [T; N], asked: Option<Vec<T>>, default: &[T]) -> Vec<T> {
            let asked = asked.unwrap_or_else(|| default.to_vec());
            all.into_iter().filter(|one| asked.contains(one)).collect()
        }
        let config = Self {
            methods: chosen(Method::ALL, file.methods, &Method::ALL),
            parametrizations: chosen(
                Parametrization::ALL,
                file.parametrizations,
                &[Parametrization::Independent],
            ),
            attributes: chosen(Attribute::ALL, file.attributes, &Attribute::ALL),
        };
        for (field, is_empty) in [
            ("methods", config.methods.is_empty()),
            ("parametrizations", config.parametrizations.is_empty()),
            ("attributes", config.attributes.is_empty()),
        ] {
            if is_empty {
                return Err(empty(field));
            }
        }
        let lacks = |needed: &Attribute| !config.attributes.contains(needed);
        let torn = |parametrization: &&Parametrization| parametrization.needs().iter().any(lacks);
        if let Some(other) = config.parametrizations.iter().find(torn) {
            return Err(Error::Config {
                field: "attributes",
                reason: format!(
                    "leaves some out, but parametrization \"{other}\" is made of them; remove one of the two"
                ),
            });
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_named_after_method_and_parametrization() {
        assert_eq!(
            Method::Mean.dictionary_name(Parametrization::Independent),
            "supervised-mean"
        );
        assert_eq!(
            Method::LeastSquares.dictionary_name(Parametrization::Names),
            "supervised-lstsq-names"
        );
    }

    #[test]
    fn files_are_completed_or_refused() {
        let config = FitConfig::try_from(serde_json::from_str::<FitFile>("{}").unwrap()).unwrap();
        assert_eq!(
            (config.methods.as_slice(), config.attributes.len()),
            (Method::ALL.as_slice(), Attribute::ALL.len())
        );
        let file = r#"{ "methods": ["least-squares"], "attributes": ["Pos", "IO"] }"#;
        let config = FitConfig::try_from(serde_json::from_str::<FitFile>(file).unwrap()).unwrap();
        assert_eq!(config.methods, [Method::LeastSquares]);
        let columns = |all| config.columns(Parametrization::Independent, all, Role::End);
        assert_eq!(
            columns(ByAttribute::ioi([7, 8, 2])).unwrap().n_values(),
            ByAttribute::from_iter([(Attribute::Io, 7), (Attribute::Pos, 2)])
        );
        let other_task = columns(ByAttribute::from_iter([(Attribute::Gender, 2)]))
            .unwrap_err()
            .to_string();
        assert!(
            other_task.contains("`attributes`") && other_task.contains("Gender"),
            "{other_task}"
        );
        let file = r#"{ "parametrizations": ["names", "coupled"] }"#;
        let config = FitConfig::try_from(serde_json::from_str::<FitFile>(file).unwrap()).unwrap();
        assert_eq!(
            config.parametrizations,
            [Parametrization::Coupled, Parametrization::Names]
        );
        let empty = serde_json::from_str::<FitFile>(r#"{ "methods": [] }"#).unwrap();
        assert!(
            FitConfig::try_from(empty)
                .unwrap_err()
                .to_string()
                .contains("`methods`")
        );
        let torn = r#"{ "parametrizations": ["independent", "coupled"], "attributes": ["IO", "Pos"] }"#;
        let error = FitConfig::try_from(serde_json::from_str::<FitFile>(torn).unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("`attributes`") && error.to_string().contains("coupled"),
            "{error}"
        );
        assert!(serde_json::from_str::<FitFile>(r#"{ "method": ["mean"] }"#).is_err());
    }
}
