//! An autoencoder of this project on disk: the folder that SAELens reads, and beside it `config.json`, where it comes from.
//!
//! `config.json` holds a hash of each file that decides what the autoencoder computes, and one of itself. It is written first
//! and the weights last, so a folder that has weights is whole, and one without is no autoencoder of any library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use lm::HookPoint;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::formats::folder::{self, File, SAELAB_CONFIG as CONFIG, SAELENS_CONFIG, SAELENS_WEIGHTS};
use crate::formats::{NamedHook, damaged, saelens};
use crate::{Autoencoder, Error, Trained};

const FORMAT_VERSION: u32 = 5;
/// What stands in the place of the file's own hash while that is taken.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where an autoencoder comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// It was trained here.
    Trained(Box<Trained>),
    /// It was converted from the folder of another library.
    Imported {
        /// The folder, whose name is written as far as it is UTF-8.
        #[serde(serialize_with = "as_text")]
        path: PathBuf,
        /// The hook that it named.
        hook: Option<NamedHook>,
        /// The hook of a transcoder's outputs that it named. Written only where there is one: what was converted before keeps
        /// its hash.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        writes: Option<NamedHook>,
    },
}

fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Trained {
    /// What SAELens loads the model by, and how it reads texts: `model_name`, `context_size`, `prepend_bos` and
    /// `model_from_pretrained_kwargs`, the last so that TransformerLens takes the weights as they were run here. What the
    /// harvest does not say is left out.
    fn of_model(&self) -> serde_json::Map<String, Value> {
        let mut map = serde_json::Map::new();
        if let Some(name) = &self.model_name {
            map.insert("model_name".to_owned(), name.as_str().into());
        }
        if let Some(context) = self.harvest["source"]["context"].as_u64() {
            map.insert("context_size".to_owned(), context.into());
        }
        if let Some(bos) = self.harvest.get("bos") {
            map.insert("prepend_bos".to_owned(), (!bos.is_null()).into());
        }
        if let Some(folded) = self.harvest["refactor_attention"].as_bool() {
            let keys = ["fold_ln", "center_writing_weights", "refactor_factored_attn_matrices"];
            let mut options: serde_json::Map<String, Value> =
                keys.into_iter().map(|key| (key.to_owned(), folded.into())).collect();
            // What is never done here.
            for key in ["center_unembed", "fold_value_biases"] {
                options.insert(key.to_owned(), false.into());
            }
            map.insert("model_from_pretrained_kwargs".to_owned(), options.into());
        }
        map
    }
}

impl Origin {
    /// The hook that the folder names, if it names one.
    pub fn hook(&self) -> Option<NamedHook> {
        match self {
            Self::Imported { hook, .. } => hook.clone(),
            Self::Trained(trained) => {
                let (name, head) = hook_and_head(&trained.site);
                Some(NamedHook { name, head })
            }
        }
    }

    /// The hook that a transcoder writes, where the folder names it and the name is understood.
    pub fn writes(&self) -> Option<HookPoint> {
        match self {
            Self::Imported { writes, .. } => writes.as_ref()?.hook(),
            Self::Trained(trained) => trained.variant.target,
        }
    }

    /// The hook that the folder names, where that is understood and another than `hook` and `head`.
    pub fn other_hook(&self, hook: HookPoint, head: Option<usize>) -> Option<NamedHook> {
        self.hook().filter(|named| named.contradicts(hook, head))
    }

    /// What SAELens shows of it.
    pub(crate) fn metadata(&self) -> serde_json::Map<String, Value> {
        let mut map = serde_json::Map::new();
        if let Some(hook) = self.hook() {
            map.insert("hook_name".to_owned(), hook.transformer_lens().into());
            map.insert("hook_head_index".to_owned(), hook.head.into());
        }
        match self {
            Self::Imported { path, writes, .. } => {
                if let Some(writes) = writes {
                    map.insert("hook_name_out".to_owned(), writes.transformer_lens().into());
                }
                map.insert("imported_from".to_owned(), path.display().to_string().into());
            }
            Self::Trained(trained) => {
                let Trained { variant, summary, .. } = trained.as_ref();
                map.insert("hook_name_out".to_owned(), serde_json::json!(variant.target));
                map.extend(trained.of_model());
                map.insert("training_architecture".to_owned(), variant.architecture.name().into());
                let details = serde_json::json!(variant.architecture);
                map.insert("training_architecture_details".to_owned(), details);
                map.insert("l0".to_owned(), summary.l0.into());
            }
        }
        map
    }
}

/// The hook of a site, and its head if it is one: `blocks.0.attn.hook_z.1@END` or, of all positions, `blocks.0.attn.hook_z.1`.
fn hook_and_head(site: &str) -> (String, Option<usize>) {
    let place = site.split('@').next().unwrap_or(site);
    match place.rsplit_once('.').map(|(hook, head)| (hook, head.parse())) {
        Some((hook, Ok(head))) => (hook.to_owned(), Some(head)),
        _ => (place.to_owned(), None),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    format_version: u32,
    /// SHA-256 of each file beside this one.
    files: BTreeMap<String, String>,
    origin: Origin,
    /// SHA-256 of this file with [`NO_HASH`] here.
    sha256: String,
}

impl Config {
    /// Reads `config.json` and checks its own hash.
    fn read(path: &Path) -> Result<Self, Error> {
        let bytes = artifacts::read(path)?;
        let unreadable = |error: serde_json::Error| {
            let reason = format!("{error}; a folder of SAELens has no file of that name");
            damaged(path, reason)
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if let Some(version) = value
            .get("format_version")
            .filter(|version| **version != FORMAT_VERSION)
        {
            let reason = format!("it has format version {version}, expected {FORMAT_VERSION}");
            return Err(damaged(path, reason));
        }
        let config: Self = serde_json::from_slice(&bytes).map_err(unreadable)?;
        let text = String::from_utf8_lossy(&bytes);
        let unhashed = text
            .rsplit_once(&config.sha256)
            .map(|(before, after)| [before, NO_HASH, after].concat());
        match unhashed.is_some_and(|text| artifacts::sha256_hex(text.as_bytes()) == config.sha256) {
            true => Ok(config),
            false => Err(damaged(
                path,
                "its hash is not the one it holds: it was changed".to_owned(),
            )),
        }
    }
}

impl Autoencoder {
    /// Writes the folder; an autoencoder that stands there is replaced.
    ///
    /// # Errors
    ///
    /// Files that cannot be written.
    pub fn save(&self, dir: &Path, origin: &Origin) -> Result<(), Error> {
        folder::replace(dir, &self.files(dir, origin)?)
    }

    /// The files of the folder, in the order in which they are written.
    pub(crate) fn files(&self, dir: &Path, origin: &Origin) -> Result<Vec<File>, Error> {
        let beside = saelens::files(self, dir, origin.metadata())?;
        let hashes = beside
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), artifacts::sha256_hex(bytes)));
        let config = Config {
            format_version: FORMAT_VERSION,
            files: hashes.collect(),
            origin: origin.clone(),
            sha256: NO_HASH.to_owned(),
        };
        let (name, bytes) = folder::json(dir, CONFIG, &config)?;
        let text = String::from_utf8_lossy(&bytes);
        #[expect(clippy::expect_used, reason = "it was written just before, as the last field")]
        let (before, after) = text.rsplit_once(NO_HASH).expect("the place of the hash is in the file");
        let hashed = [before, &artifacts::sha256_hex(&bytes), after].concat();
        Ok(std::iter::once((name, hashed.into_bytes())).chain(beside).collect())
    }

    /// Reads a folder and where it comes from.
    ///
    /// # Errors
    ///
    /// Files that are missing, damaged or do not fit together.
    pub fn load(dir: &Path, device: &Device) -> Result<(Self, Origin), Error> {
        let config = Config::read(&dir.join(CONFIG))?;
        for name in [SAELENS_CONFIG, SAELENS_WEIGHTS] {
            let path = dir.join(name);
            if config.files.get(name) != Some(&artifacts::sha256_file(&path)?) {
                return Err(damaged(&path, format!("its hash is not the one in {CONFIG}")));
            }
        }
        let (model, _) = saelens::load(dir, device)?;
        Ok((model.checked(dir)?, config.origin))
    }
}
