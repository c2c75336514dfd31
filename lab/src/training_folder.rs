//! Where a training writes: `RUN/sae/NAME/SITE`, which appears whole when it is finished.
//!
//! Until then its metrics, and at the end the autoencoder, are in a hidden folder beside it, which is named after the settings. So
//! nothing that stands under its own name is ever half of one training and half of another, and what was made with other settings,
//! from other activations or by another library stays until a whole successor is there, and is only replaced if that was asked
//! for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use artifacts::{LockFile, Locking};
use burn::tensor::Device;
use dictionaries::{Autoencoder, Format, Origin, Variant};
use sae::TrainConfig;
use serde_json::Value;

use crate::error::WithContext as _;
use crate::run_folder::RunFolder;
use crate::training_site::TrainingSite;
use crate::{Context, Result};

/// The folder of one autoencoder.
#[derive(Debug)]
pub(crate) struct TrainingFolder {
    /// Where it stands when it is finished.
    pub(crate) dir: PathBuf,
    /// Where it is until then.
    pub(crate) unfinished: PathBuf,
    replaced: PathBuf,
    settings: Value,
    hash: String,
    store: String,
}

/// What stands in such a folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    Empty,
    /// This autoencoder, of the same settings and activations.
    Finished,
    /// Something else, in words.
    Other(String),
}

impl TrainingFolder {
    pub(crate) fn new(
        run: &RunFolder,
        variant: &Variant,
        site: TrainingSite,
        config: &TrainConfig,
        store: &str,
    ) -> Self {
        let (folder, place) = (run.sae().join(&variant.name), site.dir_name());
        let hash = config.hash(variant);
        let short = &artifacts::sha256_hex(format!("{hash} {store}").as_bytes())[..12];
        Self {
            dir: folder.join(&place),
            unfinished: folder.join(format!(".training-{place}-{short}")),
            replaced: folder.join(format!(".replaced-{place}-{short}")),
            settings: config.settings(variant),
            hash,
            store: store.to_owned(),
        }
    }

    /// What stands there now.
    pub(crate) fn standing(&self, device: &Device) -> Result<Standing> {
        let dir = &self.dir;
        if dir.symlink_metadata().is_err() {
            return Ok(Standing::Empty);
        }
        if !dir.is_dir() {
            return Ok(Standing::Other("is not a folder".to_owned()));
        }
        let mut entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
        let Some(first) = entries.next() else {
            return Ok(Standing::Empty);
        };
        let first = first.with_context(|| format!("cannot list {}", dir.display()))?;
        Ok(match (Autoencoder::load(dir, device), Format::of(dir)) {
            (Ok((_, Origin::Trained(trained))), _) => {
                let mut differences = Vec::new();
                if trained.parent != self.store {
                    differences.push(format!("activations: {:.12} -> {:.12}", trained.parent, self.store));
                }
                // Through text, as the old ones: reading a number may move its last bit.
                let new: Value = serde_json::from_str(&self.settings.to_string())?;
                differences.extend(artifacts::json_differences(&trained.settings, &new));
                match differences.is_empty() && trained.config == self.hash {
                    true => Standing::Finished,
                    false => Standing::Other(format!(
                        "holds an autoencoder of other settings ({})",
                        differences.join("; ")
                    )),
                }
            }
            (Ok((_, Origin::Imported { path, .. })), _) => Standing::Other(format!(
                "holds an autoencoder that was converted from {}",
                path.display()
            )),
            (Err(error), Ok(Format::Saelab)) => {
                Standing::Other(format!("holds an autoencoder that cannot be read ({error})"))
            }
            (Err(_), Ok(format)) => Standing::Other(format!("holds an autoencoder of {format}")),
            (Err(_), Err(_)) => Standing::Other(format!(
                "holds {} and no whole autoencoder",
                first.file_name().to_string_lossy()
            )),
        })
    }

    /// Refuses to train where something else stands, unless that is to be replaced.
    pub(crate) fn check(&self, device: &Device, replace: bool) -> Result<Standing> {
        match self.standing(device)? {
            Standing::Other(what) if !replace => bail!(
                "{} {what}; give this one another `name`, or overwrite that one with --replace",
                self.dir.display()
            ),
            standing => Ok(standing),
        }
    }

    /// Makes the folders. An empty one under the final name says that something is missing there.
    pub(crate) fn begin(&self) -> Result<()> {
        let missing = || format!("cannot write into {}", self.dir.display());
        if self.dir.symlink_metadata().is_err() {
            fs::create_dir_all(&self.dir).with_context(missing)?;
        }
        fs::create_dir_all(&self.unfinished).with_context(missing)
    }

    /// Removes what is unfinished: another process has finished the same.
    pub(crate) fn drop_unfinished(&self) -> Result<()> {
        remove_any(&self.unfinished).with_context(|| format!("cannot remove {}", self.unfinished.display()))
    }

    /// Puts what is finished under its own name. What stands there goes when its successor is there, and only if it is to be
    /// replaced.
    pub(crate) fn publish(&self, replace: bool) -> Result<()> {
        let cannot = || {
            format!(
                "cannot move the finished autoencoder from {} to {}",
                self.unfinished.display(),
                self.dir.display()
            )
        };
        // Gone, or empty, unless it is to be replaced.
        let in_the_way = match fs::remove_dir(&self.dir) {
            Ok(()) => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if in_the_way && replace {
            remove_any(&self.replaced).with_context(cannot)?;
            fs::rename(&self.dir, &self.replaced).with_context(cannot)?;
        }
        fs::rename(&self.unfinished, &self.dir).with_context(cannot)?;
        remove_any(&self.replaced).with_context(cannot)
    }
}

/// Removes a file or a folder, if it is there.
fn remove_any(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

/// Held while a process trains one autoencoder at one site; the system releases it when the process ends, however it does.
#[derive(Debug)]
pub(crate) struct TrainingLock(Option<LockFile>);

impl TrainingLock {
    /// Waits until no other process trains `name` at this site, and says so in one line if it has to.
    pub(crate) fn take(dir: &Path, name: &str, site: TrainingSite, context: &Context) -> Result<Self> {
        let path = Self::path(dir, name);
        let lock = LockFile::take(&path, &mut |locking| {
            let path = path.display();
            context.note(&match locking {
                Locking::Waits => format!(
                    "train: another process trains {name} at {site} in this run; waiting for it to end ({path})"
                ),
                Locking::Unsupported { cause } => format!(
                    "train: {path} cannot be locked ({cause}); do not train {name} there from two processes at once"
                ),
            });
        })?;
        Ok(Self(Some(lock)))
    }

    /// Removes the lock that a killed process left of `name`, if nobody holds it.
    pub(crate) fn remove_abandoned(dir: &Path, name: &str) {
        LockFile::remove_abandoned(&Self::path(dir, name));
    }

    fn path(dir: &Path, name: &str) -> PathBuf {
        dir.join(format!("{name}.lock"))
    }
}

impl Drop for TrainingLock {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            lock.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::cpu;
    use sae::TrainFile;

    fn folder(run: &Path, steps: usize, store: &str) -> TrainingFolder {
        let file = serde_json::json!({"steps": steps, "autoencoder": [{"architecture": "topk", "k": 3}]});
        let config = TrainConfig::try_from(serde_json::from_value::<TrainFile>(file).unwrap()).unwrap();
        let site = "blocks.2.hook_resid_pre".parse().unwrap();
        TrainingFolder::new(&RunFolder(run.to_owned()), &config.variants[0], site, &config, store)
    }

    #[test]
    fn what_stands_there_is_never_replaced_unasked() {
        let run = tempfile::tempdir().unwrap();
        let at = folder(run.path(), 10, "store");
        assert_eq!(at.standing(&cpu()).unwrap(), Standing::Empty);
        at.begin().unwrap();
        assert_eq!(at.standing(&cpu()).unwrap(), Standing::Empty);
        // Somebody puts something there while it trains.
        fs::write(at.dir.join("notes.txt"), "mine").unwrap();
        assert!(matches!(at.standing(&cpu()).unwrap(), Standing::Other(_)));
        let error = at.check(&cpu(), false).unwrap_err().to_string();
        for part in ["blocks.2.hook_resid_pre", "notes.txt", "--replace"] {
            assert!(error.contains(part), "{error}");
        }
        fs::write(at.unfinished.join("new"), "new").unwrap();
        assert!(at.publish(false).is_err());
        assert_eq!(fs::read_to_string(at.dir.join("notes.txt")).unwrap(), "mine");
        assert!(at.unfinished.join("new").exists());
        at.publish(true).unwrap();
        let left: Vec<_> = fs::read_dir(at.dir.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert!(at.dir.join("new").exists() && !at.dir.join("notes.txt").exists());
    }

    #[test]
    fn trainings_of_other_settings_or_activations_do_not_share_what_is_unfinished() {
        let run = Path::new("run");
        let of = |steps, store| folder(run, steps, store).unfinished;
        assert_eq!(of(10, "a"), of(10, "a"));
        assert_ne!(of(10, "a"), of(11, "a"));
        assert_ne!(of(10, "a"), of(10, "b"));
    }
}
