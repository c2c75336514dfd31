//! The autoencoders of a run that were trained on all positions of a hook.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use activations::SourceConfig;
use causal::Place;
use dictionaries::{Autoencoder, Dictionary, Format, Origin, Trained};
use lm::{HookPoint, LoadOptions, Model};
use serde::Deserialize;

use crate::error::{Misplaced, WithContext as _};
use crate::identity;
use crate::left_out::LeftOut;
use crate::made::Made;
use crate::run_folder::{self, RunFolder};
use crate::training_site::TrainingSite;
use crate::{ConfigError, ConfigFile, Context, Result};

/// What the stages need that look at them on text.
#[derive(Debug, Clone)]
pub struct TextSettings {
    /// Config that names the text, for example configs/quality/splice.toml.
    pub config: ConfigFile,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How the weights of the model are kept.
    pub load: LoadOptions,
    /// Folder of the experiment: its autoencoders that were trained on whole hooks are looked at, the result is written there.
    pub run: PathBuf,
    /// Overwrite a result of another text or model.
    pub replace: bool,
}

/// The text on which autoencoders that were trained on a text (on all positions of a hook) are measured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFile {
    /// The text. Required; not the text that was trained on.
    pub source: SourceConfig,
    /// Dictionaries that `saelab splice` puts into one pass together, beside each alone; `saelab truth` looks at each alone.
    /// Default none.
    #[serde(default)]
    pub together: Vec<Together>,
    /// The hook that a transcoder writes, by its name, where its folder does not say it. Default none.
    #[serde(default)]
    pub writes: BTreeMap<String, HookPoint>,
}

/// Dictionaries that stand in one pass, one reading what another wrote.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Together {
    /// `NAME`: at all hooks that it was trained at, or `NAME/HOOK`: at one of them. Required.
    pub dictionaries: Vec<String>,
    /// Those of them, written as above, whose error term is added: what they got wrong of the untouched model. Default none.
    #[serde(default)]
    pub with_error_terms: Vec<String>,
}

impl TextFile {
    /// What a command made on this text.
    pub(crate) fn made(&self, command: &str, context: &Context) -> Made {
        let mut source = serde_json::json!(self.source);
        if let SourceConfig::Text { path, .. } = &self.source {
            source["path"] = serde_json::json!(path.as_slice());
            source["text_field"] = self.source.text_field().into();
        }
        let set = |set: &Together| serde_json::json!({"dictionaries": set.dictionaries, "with_error_terms": set.with_error_terms});
        let together: Vec<_> = self.together.iter().map(set).collect();
        Made::by(
            context,
            command,
            serde_json::json!({"source": source, "together": together, "writes": self.writes}),
        )
    }

    /// Refuses what is said of autoencoders that the run does not hold.
    pub(crate) fn check(&self, sites: &[AtHook]) -> Result<(), ConfigError> {
        let names = || sites.iter().flat_map(|site| &site.autoencoders).map(|(name, _)| name);
        if let Some(unknown) = self.writes.keys().find(|named| names().all(|name| name != *named)) {
            return Err(ConfigError(format!("`writes`: the run holds no {unknown}")));
        }
        self.together.iter().try_for_each(|set| set.check(sites))
    }
}

impl Together {
    fn check(&self, sites: &[AtHook]) -> Result<(), ConfigError> {
        let is_held = |named: &str| {
            let mut held = sites
                .iter()
                .flat_map(|site| site.autoencoders.iter().map(move |(name, _)| (name, site)));
            held.any(|(name, site)| is_called(named, name, &site.site))
        };
        let mut named = self.dictionaries.iter().chain(&self.with_error_terms);
        match named.find(|named| !is_held(named)) {
            None if self.dictionaries.is_empty() => Err(ConfigError("`together`: `dictionaries` is empty".to_owned())),
            None => Ok(()),
            Some(unknown) => Err(ConfigError(format!(
                "`together` names {unknown}, which the run does not hold; expected NAME or NAME/HOOK"
            ))),
        }
    }
}

/// Whether `named`, written `NAME` or `NAME/HOOK`, stands for an autoencoder at a site.
pub(crate) fn is_called(named: &str, name: &str, site: &str) -> bool {
    match named.split_once('/') {
        Some((dictionary, hook)) => dictionary == name && hook == site,
        None => named == name,
    }
}

/// A hook, its head if it has heads, and the autoencoders trained there: name and folder.
pub(crate) struct AtHook {
    pub(crate) site: String,
    pub(crate) hook: HookPoint,
    pub(crate) head: Option<usize>,
    pub(crate) autoencoders: Vec<(String, PathBuf)>,
}

impl AtHook {
    /// The hook, or one head of it.
    pub(crate) fn place(&self) -> Place {
        Place {
            hook: self.hook,
            head: self.head,
        }
    }
}

/// All of a run, by hook; folders that stand for no place are left out.
pub(crate) fn all(run: &RunFolder, left_out: &mut LeftOut) -> Result<Vec<AtHook>> {
    left_out.look_below(&run.sae())?;
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
    ensure!(
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
    /// What it writes: its hook; of a transcoder another one, if that is known.
    pub(crate) writes: Option<Place>,
}

/// Opens the autoencoder of a folder, of any library.
///
/// # Errors
/// [`Misplaced`] for a folder of other things; a training that is not finished; files that are damaged.
pub(super) fn open(dir: &Path, context: &Context) -> Result<(Autoencoder, Origin)> {
    if Format::of(dir).is_err() {
        let mut entries = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
        // An empty folder is held by a training.
        ensure!(
            entries.next().is_some(),
            "{} is not finished; run `saelab train` first",
            dir.display()
        );
        let reason = format!("{} holds no autoencoder of any library", dir.display());
        return Err(Misplaced(reason).into());
    }
    Ok(Autoencoder::open(dir, &context.device)?)
}

/// Loads one, of any library; `writes` is what the config says of a transcoder.
pub(crate) fn load(
    dir: &Path,
    at: Place,
    writes: Option<HookPoint>,
    model: &Model,
    context: &Context,
) -> Result<Loaded> {
    let (autoencoder, origin) = open(dir, context)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    check_site(dir, &origin, &[name.parse()?])?;
    let identity = identity::hash_of_autoencoder(dir, &origin)?;
    let writes = written(dir, &autoencoder, &origin, at, writes)?;
    let trained = match origin {
        Origin::Trained(trained) => Some(trained),
        Origin::Imported { .. } => None,
    };
    if let Some(trained) = trained.as_ref().filter(|trained| trained.model != model.hash()) {
        bail!(
            "{} was trained on another model ({:.12}) than this one ({:.12}); weights in another type (--dtype) count as another model",
            dir.display(),
            trained.model,
            model.hash()
        );
    }
    let spec = model.spec();
    let is_in_model = |place: &Place| {
        let reason = place.hook.check(spec).err();
        reason.map_or(Ok(()), |reason| Err(Misplaced(format!("{}: {reason}", dir.display()))))
    };
    is_in_model(&at)?;
    let (found, width) = (autoencoder.d_in(), at.width(spec));
    if found != width {
        let reason = format!(
            "{} takes vectors of width {found}, those of {at} have {width}",
            dir.display()
        );
        return Err(Misplaced(reason).into());
    }
    if let Some(place) = writes {
        is_in_model(&place)?;
        let (found, width) = (autoencoder.parameters.d_out(), place.width(spec));
        if found != width {
            let reason = format!(
                "{} gives vectors of width {found}, those of {place} have {width}",
                dir.display()
            );
            return Err(Misplaced(reason).into());
        }
    }
    Ok(Loaded {
        autoencoder,
        trained,
        identity,
        writes,
    })
}

/// What an autoencoder or transcoder writes, as far as that is known.
fn written(
    dir: &Path,
    autoencoder: &Autoencoder,
    origin: &Origin,
    at: Place,
    said: Option<HookPoint>,
) -> Result<Option<Place>> {
    if !autoencoder.transcodes {
        ensure!(
            said.is_none(),
            "{} is no transcoder, and writes what it reads; remove it from `writes`",
            dir.display()
        );
        return Ok(Some(at));
    }
    if let (Some(said), Some(named)) = (said, origin.writes())
        && said != named
    {
        bail!(
            "{} says that it writes {named}, `writes` that it is {said}",
            dir.display()
        );
    }
    Ok(said.or_else(|| origin.writes()).map(Place::new))
}

/// An autoencoder must not be scored as one of another place than it says; `sites` are those that its folder may stand for.
pub(super) fn check_site(dir: &Path, origin: &Origin, sites: &[TrainingSite]) -> Result<(), Misplaced> {
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
    match (elsewhere, sites.first()) {
        (Some(named), Some(site)) => Err(Misplaced(format!(
            "{} stands for {site}, but says that it is of {named}; move it to the folder of that name",
            dir.display()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_name_autoencoders_that_the_run_holds() {
        let at = |site: &str, names: &[&str]| AtHook {
            site: site.to_owned(),
            hook: site.parse().unwrap(),
            head: None,
            autoencoders: names.iter().map(|name| ((*name).to_owned(), PathBuf::new())).collect(),
        };
        let sites = [
            at("blocks.1.hook_resid_pre", &["sae-topk", "sae-relu"]),
            at("blocks.2.hook_resid_pre", &["sae-topk"]),
        ];
        let check = |dictionaries: &[&str], with_error_terms: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let set = Together {
                dictionaries: owned(dictionaries),
                with_error_terms: owned(with_error_terms),
            };
            set.check(&sites).map_err(|error| error.to_string())
        };
        assert_eq!(
            check(&["sae-topk", "sae-relu/blocks.1.hook_resid_pre"], &["sae-topk"]),
            Ok(())
        );
        for (dictionaries, with_error_terms, named) in [
            (&["sae-topk", "sae-gated"][..], &[][..], "sae-gated"),
            (&["sae-relu/blocks.2.hook_resid_pre"], &[], "sae-relu/blocks.2"),
            (&["sae-topk"], &["sae-gone"], "sae-gone"),
            (&[], &[], "`dictionaries` is empty"),
        ] {
            let error = check(dictionaries, with_error_terms).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
