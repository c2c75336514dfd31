//! The task file: names of attributes and roles, and where the prompts are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::names::{Attribute, Role, TaskName};
use crate::schema::Schema;
use crate::source::TaskSource;

/// Columns of a store that no label may be written to. A label's column is the attribute's name in lower case.
pub const STORE_COLUMNS: [&str; 7] = ["activation", "row", "document", "position", "role", "token", "special"];

/// A task of a user's own: its attributes and roles, and the file of its prompts (`docs/tasks.md`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    /// Name in reports. Required.
    pub(super) name: TaskName,
    /// File of JSON lines, relative to this file. Required.
    pub(super) prompts: PathBuf,
    /// The attributes that are edited: each line has a counterfactual for each of them. Required.
    pub(super) edited: Vec<Attribute>,
    /// The attribute of two values that over-splitting is judged by. Default: the first edited one of two values, if any.
    pub(super) binary: Option<Attribute>,
    /// The semantic positions that each line gives. `END`, the last token, need not be listed. Default: none beside `END`.
    #[serde(default)]
    pub(super) roles: Vec<Role>,
    /// Seed by which prompts without a `split` are dealt to the samples. Default 0.
    #[serde(default)]
    pub(super) seed: u64,
    /// Values of attributes; an attribute that is not edited is labelled when it stands here. Default: none.
    #[serde(default)]
    pub(super) attributes: BTreeMap<Attribute, AttributeTable>,
    /// By role, the attributes that the token there is: what the residual stream holds in any model, which `locate` does not
    /// count as found. Default: none.
    #[serde(default)]
    pub(super) told: BTreeMap<Role, Vec<Attribute>>,
}

/// What is said of an attribute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttributeTable {
    /// Its values, in the order in which they are numbered. Default: those that the lines have, sorted.
    pub(super) values: Option<Vec<String>>,
}

impl Description {
    /// Reads and checks the file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let refused = |reason: String| Error::TaskFile {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| refused(format!("cannot be read ({error})")))?;
        let mut file: Self = toml::from_str(&text).map_err(|error| refused(on_one_line(&text, &error)))?;
        file.roles.retain(|role| *role != Role::END);
        file.check().map_err(refused)?;
        Ok(file)
    }

    /// The attributes and roles, in the order of the file; attributes that are not edited by their names.
    pub(super) fn schema(&self, path: &Path) -> Schema {
        let labelled = self.attributes.keys().filter(|name| !self.edited.contains(name));
        Schema {
            source: TaskSource::File(path.to_owned()),
            name: self.name,
            edited: self.edited.clone(),
            labelled: labelled.copied().collect(),
            roles: self.roles.iter().copied().chain([Role::END]).collect(),
        }
    }

    /// Every attribute, edited ones first.
    pub(super) fn all_attributes(&self) -> impl Iterator<Item = Attribute> {
        let labelled = self.attributes.keys().filter(|name| !self.edited.contains(name));
        self.edited.iter().chain(labelled).copied()
    }

    /// The attribute by which over-splitting is judged.
    pub(super) fn binary(
        &self,
        path: &Path,
        values: &BTreeMap<Attribute, Vec<String>>,
    ) -> Result<Option<Attribute>, Error> {
        let n = |attribute: &Attribute| values.get(attribute).map_or(0, Vec::len);
        match self.binary {
            Some(binary) if n(&binary) != 2 => Err(Error::TaskFile {
                path: path.to_owned(),
                reason: format!("`binary` names {binary}, which has {} values, not two", n(&binary)),
            }),
            Some(binary) => Ok(Some(binary)),
            None => Ok(self.edited.iter().copied().find(|attribute| n(attribute) == 2)),
        }
    }

    fn check(&self) -> Result<(), String> {
        if [TaskName::IOI, TaskName::PRONOUN].contains(&self.name) {
            return Err(format!("`name` is {}, which is a task of the program", self.name));
        }
        if self.edited.is_empty() {
            return Err("`edited` is empty, at least one attribute is needed".to_owned());
        }
        refuse_twice("edited", self.edited.iter().copied())?;
        refuse_twice("roles", self.roles.iter().copied())?;
        let mut columns = BTreeSet::from(STORE_COLUMNS.map(str::to_owned));
        for attribute in self.all_attributes() {
            if !columns.insert(attribute.as_str().to_lowercase()) {
                return Err(format!(
                    "attribute {attribute} would be the second column of that name in a store; name it otherwise"
                ));
            }
        }
        let mut folders = BTreeSet::from([Role::END.as_str().to_lowercase()]);
        for role in &self.roles {
            if !folders.insert(role.as_str().to_lowercase().replace('+', "p")) {
                return Err(format!(
                    "role {role} differs from another only in ways that folder names do not show; name it otherwise"
                ));
            }
        }
        let is_known = |attribute: &Attribute| self.all_attributes().any(|known| known == *attribute);
        if let Some(unknown) = self.binary.iter().find(|attribute| !is_known(attribute)) {
            return Err(format!("`binary` names {unknown}, which is no attribute of the task"));
        }
        for (role, attributes) in &self.told {
            if *role != Role::END && !self.roles.contains(role) {
                return Err(format!("`told` names role {role}, which `roles` does not list"));
            }
            if let Some(unknown) = attributes.iter().find(|attribute| !is_known(attribute)) {
                return Err(format!(
                    "`told.{role}` names {unknown}, which is no attribute of the task"
                ));
            }
        }
        for (attribute, table) in &self.attributes {
            if let Some(values) = &table.values {
                let key = format!("attributes.{attribute}.values");
                refuse_twice(&key, values.iter())?;
                if values.len() < 2 {
                    return Err(format!("`{key}` has {} values, at least two are needed", values.len()));
                }
            }
        }
        Ok(())
    }
}

fn refuse_twice<T: Ord + std::fmt::Display>(key: &str, named: impl Iterator<Item = T>) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for one in named {
        let text = one.to_string();
        if !known.insert(one) {
            return Err(format!("`{key}` names {text} twice"));
        }
    }
    Ok(())
}

/// What the reader of TOML says, with the line, without the picture of it.
fn on_one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace(char::is_control, " ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}
