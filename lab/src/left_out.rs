//! Folders of a run that do not hold what their place says: each is named and left out, and the rest is measured.

use std::path::Path;

use dictionaries::Format;

use crate::run_folder;
use crate::training_site::TrainingSite;
use crate::{Context, Result};

/// What a command leaves out, and why.
pub(crate) struct LeftOut<'a> {
    context: &'a Context,
    command: &'static str,
    reasons: Vec<String>,
}

impl<'a> LeftOut<'a> {
    pub(super) fn new(command: &'static str, context: &'a Context) -> Self {
        Self {
            context,
            command,
            reasons: Vec::new(),
        }
    }

    /// Leaves something out, and says so at once.
    pub(super) fn add(&mut self, reason: String) {
        self.context.note(&format!("{}: left out: {reason}", self.command));
        self.reasons.push(reason);
    }

    /// What was found; nothing where it is misplaced, which is noted. Other errors are passed on.
    pub(super) fn keep<T>(&mut self, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_misplaced() => {
                self.add(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Names folders below `names`, a folder of names, that stand for no place.
    pub(super) fn look_below(&mut self, names: &Path) -> Result<()> {
        for name in run_folder::folders(names)? {
            let of_name = names.join(&name);
            if Format::of(&of_name).is_ok() {
                self.add(format!(
                    "{} holds an autoencoder itself; move it to {} and a folder below with the name of its hook",
                    of_name.display(),
                    of_name.display()
                ));
            }
            for place in run_folder::folders(&of_name)?
                .into_iter()
                .filter(|place| !is_place(place))
            {
                self.add(format!(
                    "{} has the name of no hook and of no node, such as blocks.2.hook_resid_pre or blocks.2.hook_resid_pre-END",
                    of_name.join(place).display()
                ));
            }
        }
        Ok(())
    }

    /// # Errors
    /// Where `measured` says that nothing else is left, all reasons.
    pub(super) fn check_rest(&self, measured: usize) -> Result<()> {
        ensure!(
            measured > 0 || self.reasons.is_empty(),
            "nothing is left to measure: {}",
            self.reasons.join("; ")
        );
        Ok(())
    }

    /// What is said again below the results, where they are not of all that is there.
    pub(super) fn again(&self) -> Option<String> {
        match self.reasons.as_slice() {
            [] => None,
            [one] => Some(format!("{}: the results lack one folder: {one}", self.command)),
            [one, others @ ..] => Some(format!(
                "{}: the results lack {} folders that are named above; the first: {one}",
                self.command,
                others.len() + 1
            )),
        }
    }
}

/// Whether a folder's name is that of a hook, of a head, or of one of them at a role.
fn is_place(name: &str) -> bool {
    let at_role = name
        .match_indices('-')
        .any(|(at, _)| name[..at].parse::<TrainingSite>().is_ok());
    at_role || name.parse::<TrainingSite>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::error::Misplaced;

    #[test]
    fn places_are_hooks_heads_and_nodes() {
        for name in [
            "blocks.2.hook_resid_pre",
            "blocks.2.attn.hook_z.1",
            "blocks.2.hook_resid_pre-S1p1",
            "blocks.2.attn.hook_z.1-END",
        ] {
            assert!(is_place(name), "{name}");
        }
        for name in ["old", "blocks.2.hook_resid_prex", "blocks.2", "a-END"] {
            assert!(!is_place(name), "{name}");
        }
    }

    #[test]
    fn only_what_is_misplaced_is_left_out() {
        let context = crate::made::tests::context();
        let mut left_out = LeftOut::new("eval", &context);
        left_out.check_rest(0).unwrap();
        assert_eq!(left_out.keep(Ok(1)).unwrap(), Some(1));
        assert_eq!(
            left_out.keep::<u8>(Err(Misplaced("here".to_owned()).into())).unwrap(),
            None
        );
        assert!(left_out.keep::<u8>(Err(Error::Failed("damaged".to_owned()))).is_err());
        left_out.check_rest(1).unwrap();
        assert!(
            left_out
                .check_rest(0)
                .unwrap_err()
                .to_string()
                .ends_with("measure: here")
        );
    }
}
