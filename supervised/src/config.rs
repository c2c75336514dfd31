//! The fit config: the file as written ([`FitFile`]) and what it means ([`FitConfig`]).

use serde::{Deserialize, Serialize};
use strum::VariantArray;
use tasks::{Attribute, ByAttribute, Role};

use crate::{Columns, Error, Parametrization};

/// How the features of a dictionary are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display, VariantArray)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FitMethod {
    /// Conditional means: the paper's main method.
    Mean,
    /// Least squares: the best reconstruction that the attributes allow.
    LeastSquares,
}

impl FitMethod {
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

/// Which supervised dictionaries are fitted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitFile {
    /// The methods, each once and giving one dictionary per node: `"mean"`, `"least-squares"`. Default both, as in the paper.
    pub methods: Option<Vec<FitMethod>>,
    /// What the features stand for, each once and giving one dictionary per node and method: `"independent"`, `"coupled"`,
    /// `"names"`. Default the independent one, the paper's main one.
    pub parametrizations: Option<Vec<Parametrization>>,
    /// The attributes that get features, each once: `"IO"`, `"S"`, `"Pos"`; `"Gender"`, `"OtherGender"` of the pronoun task; those that
    /// a task file names.
    /// Default all that the task edits: what is left out cannot be edited. Fewer than all only with the independent
    /// parametrization, the others are made of all three.
    pub attributes: Option<Vec<Attribute>>,
}

/// A fit config whose fields are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitConfig {
    /// The methods, at least one, each once.
    pub methods: Vec<FitMethod>,
    /// The parametrizations, at least one, each once, in the order of [`Parametrization`].
    pub parametrizations: Vec<Parametrization>,
    /// The attributes, at least one, each once, in their order; none where all are meant that the task edits.
    pub attributes: Option<Vec<Attribute>>,
}

impl FitConfig {
    /// The latents of a dictionary at `role`; `all` is the number of values of each attribute of the prompts.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the prompts lack one of the attributes; [`Error::Parametrization`] when the parametrization is
    /// not for their task.
    pub fn columns(&self, parametrization: Parametrization, all: ByAttribute, role: Role) -> Result<Columns, Error> {
        let Some(asked) = &self.attributes else {
            return Columns::new(parametrization, all, role);
        };
        if let Some(foreign) = asked.iter().find(|attribute| all.get(**attribute).is_none()) {
            let known = all.attributes().map(|attribute| attribute.to_string());
            return Err(Error::Config {
                field: "attributes",
                reason: format!(
                    "names {foreign}, but the task edits {}",
                    known.collect::<Vec<_>>().join(", ")
                ),
            });
        }
        let kept = all.iter().filter(|(attribute, _)| asked.contains(attribute));
        Columns::new(parametrization, kept.collect(), role)
    }
}

impl TryFrom<FitFile> for FitConfig {
    type Error = Error;

    fn try_from(file: FitFile) -> Result<Self, Error> {
        let parametrizations = file.parametrizations.unwrap_or(vec![Parametrization::Independent]);
        let attributes = file.attributes.map(|asked| {
            let mut all = asked.clone();
            all.sort_unstable();
            chosen("attributes", &all, &asked)
        });
        let config = Self {
            methods: chosen(
                "methods",
                FitMethod::VARIANTS,
                &file.methods.unwrap_or(FitMethod::VARIANTS.to_vec()),
            )?,
            parametrizations: chosen("parametrizations", Parametrization::VARIANTS, &parametrizations)?,
            attributes: attributes.transpose()?,
        };
        let attributes = config.attributes.as_ref();
        let lacks = |needed: &Attribute| attributes.is_some_and(|attributes| !attributes.contains(needed));
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

/// Those of `all` that are asked for, in its order.
fn chosen<T: Copy + PartialEq>(field: &'static str, all: &[T], asked: &[T]) -> Result<Vec<T>, Error> {
    let refuse = |reason: &str| Error::Config {
        field,
        reason: reason.to_owned(),
    };
    if asked.is_empty() {
        return Err(refuse("is empty, at least one is needed"));
    }
    if (1..asked.len()).any(|place| asked[..place].contains(&asked[place])) {
        return Err(refuse("lists one of its values twice"));
    }
    Ok(all.iter().filter(|one| asked.contains(one)).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_named_after_method_and_parametrization() {
        assert_eq!(
            FitMethod::Mean.dictionary_name(Parametrization::Independent),
            "supervised-mean"
        );
        assert_eq!(
            FitMethod::LeastSquares.dictionary_name(Parametrization::Names),
            "supervised-lstsq-names"
        );
    }

    #[test]
    fn files_are_completed_or_refused() {
        let config = FitConfig::try_from(serde_json::from_str::<FitFile>("{}").unwrap()).unwrap();
        assert_eq!(
            (config.methods.as_slice(), config.attributes),
            (FitMethod::VARIANTS, None)
        );
        let file = r#"{ "methods": ["least-squares"], "attributes": ["Pos", "IO"] }"#;
        let config = FitConfig::try_from(serde_json::from_str::<FitFile>(file).unwrap()).unwrap();
        assert_eq!(config.methods, [FitMethod::LeastSquares]);
        let columns = |all| config.columns(Parametrization::Independent, all, Role::END);
        assert_eq!(
            columns(ByAttribute::ioi([7, 8, 2])).unwrap().n_values(),
            &ByAttribute::from_iter([(Attribute::IO, 7), (Attribute::POS, 2)])
        );
        let other_task = columns(ByAttribute::from_iter([(Attribute::GENDER, 2)]))
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
        for (field, one) in [("methods", "mean"), ("parametrizations", "names"), ("attributes", "IO")] {
            for text in [
                format!("{{ \"{field}\": [] }}"),
                format!("{{ \"{field}\": [\"{one}\", \"{one}\"] }}"),
            ] {
                let file = serde_json::from_str::<FitFile>(&text).unwrap();
                let error = FitConfig::try_from(file).unwrap_err().to_string();
                assert!(error.contains(&format!("`{field}`")), "{text}: {error}");
            }
        }
        let torn = r#"{ "parametrizations": ["independent", "coupled"], "attributes": ["IO", "Pos"] }"#;
        let error = FitConfig::try_from(serde_json::from_str::<FitFile>(torn).unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("`attributes`") && error.to_string().contains("coupled"),
            "{error}"
        );
        assert!(serde_json::from_str::<FitFile>(r#"{ "method": ["mean"] }"#).is_err());
    }
}
