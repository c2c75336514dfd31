//! The autoencoders of a run that were trained on all positions of a hook.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use activations::{Dictionary, SourceConfig};
use lm::{HookPoint, Model};
use sae::{Autoencoder, Format, Origin, Trained};
use serde::Deserialize;

use super::run_folder::{self, RunFolder};
use super::training_site::TrainingSite;
use super::{Context, dictionary_sets};
use crate::output;

/// Arguments of the commands that look at them on text.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// Config that names the text, for example configs/quality/splice.toml
    pub(crate) config: PathBuf,
    /// Model folder in Hugging Face layout, or the name of a model that was pulled
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Folder of the experiment: its autoencoders that were trained on whole hooks are looked at, the result is written there
    #[arg(long)]
    pub(crate) run: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    pub(crate) set: Vec<String>,
}

/// Their config file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextFile {
    /// The text. Required; not the text that was trained on.
    pub(crate) source: SourceConfig,
}

/// A hook, its head if it has heads, and the autoencoders trained there: name and folder.
pub(crate) struct AtHook {
    pub(crate) site: String,
    pub(crate) hook: HookPoint,
    pub(crate) head: Option<usize>,
    pub(crate) autoencoders: Vec<(String, PathBuf)>,
}

/// All of a run, by hook.
pub(crate) fn all(run: &RunFolder) -> anyhow::Result<Vec<AtHook>> {
    let mut by_site: BTreeMap<String, AtHook> = BTreeMap::new();
    for name in run_folder::folders(&run.sae())? {
        for site in run_folder::folders(&run.sae().join(&name))? {
            // Folders of nodes hold one position only.
            if let Ok(TrainingSite::Hook(hook, head)) = site.parse() {
                let dir = run.sae().join(&name).join(&site);
                let at = by_site.entry(site.clone()).or_insert_with(|| AtHook {
                    site,
                    hook,
                    head,
                    autoencoders: Vec::new(),
                });
                at.autoencoders.push((name.clone(), dir));
            }
        }
    }
    anyhow::ensure!(
        !by_site.is_empty(),
        "{} holds no autoencoder that was trained on a whole hook; harvest text and run `saelab train` without --sites",
        run.sae().display()
    );
    Ok(by_site.into_values().collect())
}

/// One that was loaded.
pub(crate) struct Loaded {
    pub(crate) autoencoder: Autoencoder,
    /// How it was trained, if it was here.
    pub(crate) trained: Option<Box<Trained>>,
    /// Hash of the files that it was read from.
    pub(crate) identity: String,
}

/// Loads one, of any library; none for a transcoder, which reconstructs another hook.
pub(crate) fn load(dir: &Path, hook: HookPoint, model: &Model, context: &Context) -> anyhow::Result<Option<Loaded>> {
    if Format::of(dir).is_err() && dir.join("metrics.jsonl").exists() {
        anyhow::bail!("{} is not finished; run `saelab train` first", dir.display());
    }
    let (autoencoder, origin) = Autoencoder::open(dir, &context.device)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    check_site(dir, &origin, &[name.parse()?])?;
    let identity = dictionary_sets::hash_of_autoencoder(dir, &origin)?;
    let trained = match origin {
        Origin::Trained(trained) => Some(trained),
        Origin::Imported { .. } => None,
    };
    if let Some(trained) = trained.as_ref().filter(|trained| trained.model != model.hash()) {
        anyhow::bail!(
            "{} was trained on another model ({:.12}) than this one ({:.12})",
            dir.display(),
            trained.model,
            model.hash()
        );
    }
    if autoencoder.transcodes {
        output::note(&format!("{} is a transcoder and left out", dir.display()));
        return Ok(None);
    }
    let width = hook.width(model.spec());
    anyhow::ensure!(
        autoencoder.d_in() == width,
        "{} takes vectors of width {}, those of {hook} have {width}; move it out of the run",
        dir.display(),
        autoencoder.d_in()
    );
    Ok(Some(Loaded {
        autoencoder,
        trained,
        identity,
    }))
}

/// An autoencoder must not be scored as one of another place than it says; `sites` are those that its folder may stand for.
pub(super) fn check_site(dir: &Path, origin: &Origin, sites: &[TrainingSite]) -> anyhow::Result<()> {
    let elsewhere = match origin {
        Origin::Trained(trained) => sites
            .iter()
            .all(|site| site.to_string() != trained.site)
            .then(|| trained.site.clone()),
        Origin::Imported { .. } => sites.iter().find_map(|site| {
            let (hook, head) = site.place();
            origin.other_hook(hook, head).map(|named| named.to_string())
        }),
    };
    if let (Some(named), Some(site)) = (elsewhere, sites.first()) {
        anyhow::bail!(
            "{} stands for {site}, but says that it is of {named}; move it to the folder of that name",
            dir.display()
        );
    }
    Ok(())
}
