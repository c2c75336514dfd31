//! The harvest config: the file as written ([`HarvestFile`]) and what it means ([`HarvestConfig`]).
//!
//! The binary parses TOML into the first and turns it into the second; nothing behind it checks again.

use std::path::PathBuf;

use lm::{HookPoint, LoadOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tasks::{Role, Schema, TaskSource};
use text::{Chat, ChatDate, Fill, LongDocuments, Packing, Tokenizer};

use crate::{Error, StoredDtype};
use text::corpus::OnBadLine;

/// Sequences per forward pass when the file does not say: fills two cores with a small model, fits 4 GB with GPT-2 small.
const DEFAULT_BATCH: usize = 64;
/// Vectors per shard when the file does not say: 50 MB at a width of 768.
const DEFAULT_ROWS_PER_SHARD: usize = 16_384;
/// Vectors of text that are shuffled together when the file does not say: 200 MB of f32 a hook at a width of 768.
const DEFAULT_SHUFFLE_WINDOW: usize = 65_536;

/// Which activations of which model on which text are stored, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarvestFile {
    /// Folder of the model (Hugging Face layout), or the name of one that `saelab model pull` has fetched. Required.
    pub model: PathBuf,
    /// Fold layer norms, centre weights and factor the matrices of every head anew before the model is run. Default false:
    /// the weights as they are. With true, norms at q, k, v, z are comparable between heads, as in the paper; the store then
    /// belongs to the re-factored model and is refused wherever the plain one is used.
    pub refactor_attention: Option<bool>,
    /// Type that the matrices of the model are kept in while it runs: `f32`, `bf16` or `f16`. Default `f32`: the numbers of the
    /// checkpoint. `bf16` halves the memory and is faster where the processor has AMX or AVX512-BF16; what a product multiplies
    /// is rounded to three digits, all else stays `f32`. `f16` halves the memory too, and is slower on the CPU. The store then belongs to the
    /// model in that type and is refused wherever another is used. `dtype` below is the type of what is stored.
    pub model_dtype: Option<lm::Dtype>,
    /// Sites file written by `saelab locate`: the hooks of all its nodes are stored, of prompts at the nodes' roles, of text
    /// everywhere. Default none: `hooks` are named.
    pub sites: Option<PathBuf>,
    /// Hooks to store, for example `["blocks.2.hook_resid_pre"]`; of `hook_q`, `hook_k`, `hook_v`, `hook_z` all heads.
    /// Default none: `sites` are named.
    pub hooks: Option<Vec<HookPoint>>,
    /// Semantic positions to store of each prompt, for example `["S2", "END"]`. Default: all of the task, since a role adds
    /// little beside the forward pass. Not for text.
    pub roles: Option<Vec<Role>>,
    /// What the model reads. Required.
    pub source: SourceConfig,
    /// Token before every prompt and window of text: `"auto"`, what the files of the model say, `"none"`, or an id. Default
    /// `"auto"`: what the post-processor of tokenizer.json prepends; GPT-2's `<|endoftext|>`; `bos_token` where
    /// `add_bos_token` is true in tokenizer_config.json; otherwise none. The store says what was done.
    #[serde(default)]
    pub bos: Bos,
    /// Sequences per forward pass. Default 64; more is faster on a GPU, memory grows with it.
    pub batch: Option<usize>,
    /// Vectors per Parquet file. Default 16384: about 50 MB at a width of 768, small enough to lose in a crash.
    pub rows_per_shard: Option<usize>,
    /// Type of the stored numbers: `f32`, `f16` or `bf16`. Default `f32`: what the model computed. `f16` halves the disk and
    /// keeps three digits, `bf16` two, with the range of `f32`.
    #[serde(default)]
    pub dtype: StoredDtype,
    /// Vectors of text that are shuffled together before they are written, rounded up to whole shards; they are held in
    /// memory. Default 65536; 0 keeps the order of the text. Not for prompts, whose order says which is which.
    pub shuffle_window: Option<usize>,
    /// Seed of the shuffle of `shuffle_window`. Default 0. Not for prompts.
    pub shuffle_seed: Option<u64>,
    /// Position 0 and special tokens of a text: `exclude` or `mark` (stored, with `special` set). Default `exclude`: the
    /// vector of position 0 is the same in every window, and many times as long as any other.
    #[serde(default)]
    pub special_tokens: SpecialTokens,
}

/// The token before every prompt and window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenBos")]
pub enum Bos {
    /// What the files of the model say.
    #[default]
    Auto,
    /// None.
    None,
    /// The token of this id.
    Id(u32),
}

/// That token as it is written.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected \"auto\", \"none\" or the id of a token")]
enum WrittenBos {
    Word(String),
    Id(u32),
}

impl TryFrom<WrittenBos> for Bos {
    type Error = String;

    fn try_from(written: WrittenBos) -> Result<Self, String> {
        match written {
            WrittenBos::Id(id) => Ok(Self::Id(id)),
            WrittenBos::Word(word) => match word.as_str() {
                "auto" => Ok(Self::Auto),
                "none" => Ok(Self::None),
                _ => Err(format!(
                    "expected \"auto\", \"none\" or the id of a token, found \"{word}\""
                )),
            },
        }
    }
}

impl Bos {
    /// The tokenizer with this token.
    ///
    /// # Errors
    ///
    /// An id that is none of its tokens.
    pub fn of(self, tokenizer: Tokenizer) -> Result<Tokenizer, Error> {
        match self {
            Self::Auto => Ok(tokenizer),
            Self::None => Ok(tokenizer.with_bos(None)?),
            Self::Id(id) => Ok(tokenizer.with_bos(Some(id))?),
        }
    }
}

/// What becomes of the characters of a document that spell a special token, such as `<|endoftext|>`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpelledSpecial {
    /// They are text as all others.
    #[default]
    Text,
    /// They give the special token.
    Control,
}

/// What becomes of position 0 and of special tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTokens {
    /// They are not stored.
    #[default]
    Exclude,
    /// They are stored, and their rows say so.
    Mark,
}

/// What the model reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum SourceConfig {
    /// Prompts of a task (training sample).
    Prompts {
        /// The task: `ioi`, `pronoun`, or the path of a task file (`docs/tasks.md`), which ends in `.toml`. Required.
        task: TaskSource,
        /// Number of prompts; of a task file at most its training prompts. Required; 20000 in the paper.
        n: usize,
        /// Seed of the sample. Default 0.
        #[serde(default)]
        seed: u64,
    },
    /// Documents of the written world that the shipped model was trained on.
    World {
        /// Number of documents. Required.
        documents: u64,
        /// Seed of the documents. Default 1: the shipped model was trained on those of seed 0.
        #[serde(default = "world_seed")]
        seed: u64,
        /// Longest window in tokens, beginning-of-text token included. Default 64, the context of the shipped model.
        #[serde(default = "world_context")]
        context: usize,
    },
    /// Documents of text files.
    ///
    /// Where a document spells a special token, such as `<|endoftext|>`, `spelled_special` says what that is; `saelab harvest`
    /// prints the number of such documents. It also prints how many characters are lost because the vocabulary has no token for
    /// a byte of them (SmolLM2: some control characters). Column `document` of the store is the number of the
    /// document's line or row, from 0; blank and null ones count, and a second file goes on where the first one ends.
    Text {
        /// A file, pipe or glob, or a list of them: plain text and JSON lines (a document a line), each as it comes or
        /// compressed with gzip or zstd, and Parquet. A file that is named several times is read once. A line or row may
        /// have 256 MiB. Required.
        #[serde(skip_serializing)]
        path: Patterns,
        /// Field of the JSON objects, or column of the Parquet files, that holds the text; other fields are not looked at.
        /// Null is a blank document. Default `text`, of chats `messages`.
        #[serde(default, skip_serializing)]
        text_field: Option<String>,
        /// JSON lines hold chats: the field is a list of objects with `role` and `content`, which the chat template of the model
        /// makes a text of, without the beginning of an answer. Control tokens that the template writes are read as such, and the
        /// token that begins a text is put before a chat only where the template writes it. Default false.
        #[serde(default)]
        chat: bool,
        /// The day that a chat template is told, as `"2024-07-26"`; for chats only. Default none: a template that
        /// asks for it needs it.
        chat_date: Option<ChatDate>,
        /// Longest window in tokens, beginning-of-text token included. Default 128, the usual context for autoencoders.
        #[serde(default = "default_context")]
        context: usize,
        /// What a window holds: tokens of one document (`documents`), or documents one after the other, so that every window
        /// is full (`packed`). Default `documents`: no token sees another document.
        #[serde(default)]
        fill: Fill,
        /// A document that is longer than a window: `cut` into several, or `refuse` the harvest. Default `cut`.
        #[serde(default)]
        long_documents: LongDocuments,
        /// A line that holds no document (not UTF-8, not a JSON object, no text in it, too long): end with an `error`, or
        /// `skip` it, in which case the number of skipped lines is printed. Default `error`.
        #[serde(default)]
        on_bad_line: OnBadLine,
        /// Characters that spell a special token, such as `<|im_end|>`: `text` as any others, or `control`, in which case they
        /// give that token, and a token that begins a text is not put before a document that spells it. Default `text`.
        #[serde(default)]
        spelled_special: SpelledSpecial,
    },
}

/// One path or glob, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
pub enum Patterns {
    /// One.
    One(String),
    /// Several, read one after the other.
    Many(Vec<String>),
}

impl Patterns {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(pattern) => std::slice::from_ref(pattern),
            Self::Many(patterns) => patterns,
        }
    }
}

fn world_seed() -> u64 {
    1
}

fn world_context() -> usize {
    64
}

fn default_context() -> usize {
    128
}

impl SourceConfig {
    /// Checks that there is something to read.
    ///
    /// # Errors
    ///
    /// No prompts or documents; windows too short for a token.
    pub fn validate(&self) -> Result<(), Error> {
        let (field, reason) = match self {
            Self::Prompts { n: 0, .. } => ("n", "is 0, must be at least 1"),
            Self::World { documents: 0, .. } => ("documents", "is 0, must be at least 1"),
            Self::Text { context: 0 | 1, .. } | Self::World { context: 0 | 1, .. } => ("context", "must be at least 2"),
            Self::Text { path, .. } if path.as_slice().is_empty() => ("path", "is empty, at least one file is needed"),
            Self::Text { path, .. } if path.as_slice().iter().any(|path| path.trim().is_empty()) => {
                ("path", "is empty, a file or glob is needed")
            }
            Self::Text {
                text_field: Some(field),
                ..
            } if field.is_empty() => ("text_field", "is empty, a name is needed"),
            Self::Text {
                chat: false,
                chat_date: Some(_),
                ..
            } => ("chat_date", "is for chats only; set `chat` too, or remove it"),
            Self::Text {
                chat: true,
                spelled_special: SpelledSpecial::Control,
                ..
            } => (
                "spelled_special",
                "is for texts only, the control tokens of chats are always read",
            ),
            _ => return Ok(()),
        };
        Err(Error::Config {
            field,
            reason: reason.to_owned(),
        })
    }

    /// The tokenizer that reads the documents.
    pub fn tokenizer(&self, tokenizer: Tokenizer) -> Tokenizer {
        match self {
            Self::Text {
                spelled_special: SpelledSpecial::Control,
                ..
            }
            | Self::Text { chat: true, .. } => tokenizer.with_control_tokens(),
            _ => tokenizer,
        }
    }

    /// The field or column of the documents.
    pub fn text_field(&self) -> &str {
        match self {
            Self::Text {
                text_field: Some(field),
                ..
            } => field,
            Self::Text { chat: true, .. } => "messages",
            _ => "text",
        }
    }

    /// What makes texts of chats, where the documents are chats.
    ///
    /// # Errors
    ///
    /// A model without a chat template, or with one that cannot be used.
    pub fn chat(&self, tokenizer: &Tokenizer) -> Result<Option<Chat>, Error> {
        let Self::Text {
            chat: true, chat_date, ..
        } = self
        else {
            return Ok(None);
        };
        let template = tokenizer.chat_template().ok_or_else(|| Error::Config {
            field: "chat",
            reason: "asks for the chat template of the model, which has none in its tokenizer_config.json nor a \
                     chat_template.jinja; take a model that was trained on chats"
                .to_owned(),
        })?;
        Ok(Some(template.compiled(*chat_date)?))
    }

    /// How documents become windows; `None` for prompts.
    pub fn packing(&self) -> Option<Packing> {
        match self {
            Self::Prompts { .. } => None,
            Self::World { context, .. } => Some(Packing::documents(*context)),
            Self::Text {
                context,
                fill,
                long_documents,
                chat,
                ..
            } => Some(Packing {
                context: *context,
                fill: *fill,
                long_documents: *long_documents,
                spelled_bos_only: *chat,
            }),
        }
    }
}

/// A harvest config whose fields are complete and fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HarvestConfig {
    /// Folder or name of the model.
    pub model: PathBuf,
    /// What is done to its weights.
    pub load: LoadOptions,
    /// Which vectors are stored.
    pub selection: Selection,
    /// What the model reads.
    pub source: SourceConfig,
    /// The token before every prompt and window.
    pub bos: Bos,
    /// Sequences per forward pass, at least 1.
    pub batch: usize,
    /// Vectors per Parquet file, at least 1.
    pub rows_per_shard: usize,
    /// Type of the stored numbers.
    pub dtype: StoredDtype,
    /// Vectors that are shuffled together, and the seed; `None` for prompts.
    pub shuffle: Option<(usize, u64)>,
    /// Whether position 0 and special tokens are stored.
    pub keep_special: bool,
}

/// Which vectors are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Those of the nodes of a sites file; of text all at their hooks.
    Sites(PathBuf),
    /// Those of all these hooks at all these roles; no roles for text.
    Hooks {
        /// The hooks, at least one.
        hooks: Vec<HookPoint>,
        /// The roles; none: all of the task.
        roles: Option<Vec<Role>>,
    },
}

impl TryFrom<HarvestFile> for HarvestConfig {
    type Error = Error;

    fn try_from(file: HarvestFile) -> Result<Self, Error> {
        let refuse = |field, reason: &str| {
            Err(Error::Config {
                field,
                reason: reason.to_owned(),
            })
        };
        let text = matches!(file.source, SourceConfig::Text { .. } | SourceConfig::World { .. });
        let selection = match (file.sites, file.hooks, file.roles) {
            (Some(sites), None, None) => Selection::Sites(sites),
            (Some(_), _, _) => return refuse("sites", "stands beside `hooks` or `roles`: give one or the other"),
            (None, None, _) => return refuse("hooks", "is missing: give `sites`, or `hooks` and `roles`"),
            (None, Some(hooks), _) if hooks.is_empty() => return refuse("hooks", "is empty, at least one is needed"),
            (None, Some(_), Some(_)) if text => return refuse("roles", "means nothing for text, remove it"),
            (None, Some(_), Some(roles)) if roles.is_empty() => {
                return refuse("roles", "is empty, at least one is needed");
            }
            (None, Some(hooks), roles) => {
                refuse_twice("hooks", &hooks)?;
                refuse_twice("roles", roles.as_deref().unwrap_or_default())?;
                Selection::Hooks { hooks, roles }
            }
        };
        file.source.validate()?;
        let batch = file.batch.unwrap_or(DEFAULT_BATCH);
        let rows_per_shard = file.rows_per_shard.unwrap_or(DEFAULT_ROWS_PER_SHARD);
        if batch == 0 || rows_per_shard == 0 {
            return refuse(
                if batch == 0 { "batch" } else { "rows_per_shard" },
                "is 0, must be at least 1",
            );
        }
        if !text && file.shuffle_window.is_some_and(|window| window > 0) {
            return refuse("shuffle_window", "is for text only, the order of prompts is kept");
        }
        if !text && file.shuffle_seed.is_some() {
            return refuse("shuffle_seed", "is for text only, the order of prompts is kept");
        }
        let window = file.shuffle_window.unwrap_or(DEFAULT_SHUFFLE_WINDOW);
        if !text && file.bos != Bos::Auto {
            let reason =
                "is for text only: `locate`, `fit` and `eval` read prompts as the files of the model begin them";
            return refuse("bos", reason);
        }
        let keep_special = file.special_tokens == SpecialTokens::Mark;
        if keep_special && !text {
            return refuse("special_tokens", "is for text only, prompts are stored at their roles");
        }
        Ok(Self {
            model: file.model,
            load: LoadOptions {
                refactor_attention: file.refactor_attention.unwrap_or(false),
                dtype: file.model_dtype.unwrap_or_default(),
            },
            selection,
            source: file.source,
            bos: file.bos,
            batch,
            rows_per_shard,
            dtype: file.dtype,
            shuffle: (text && window > 0).then_some((window, file.shuffle_seed.unwrap_or(0))),
            keep_special,
        })
    }
}

/// Refuses a list that names something twice: it would be stored once.
fn refuse_twice<T: PartialEq + std::fmt::Display>(field: &'static str, named: &[T]) -> Result<(), Error> {
    let again = named
        .iter()
        .enumerate()
        .find(|(place, name)| named[..*place].contains(name));
    match again {
        Some((_, name)) => Err(Error::Config {
            field,
            reason: format!("names {name} twice"),
        }),
        None => Ok(()),
    }
}

impl HarvestConfig {
    /// The settings that a [`crate::HarvestPlan`] made from this config does not show by itself, by their keys: what its
    /// source is (not where its text lies: that is known by its contents), and what is done to the weights. A task that comes
    /// from a file, `schema`, is known by its name and what its prompts are labelled with.
    ///
    /// # Errors
    ///
    /// None that is known: every source can be written as JSON.
    pub fn asked(&self, schema: Option<&Schema>) -> Result<Map<String, Value>, serde_json::Error> {
        let mut source = serde_json::to_value(&self.source)?;
        if let Some(schema) = schema.filter(|schema| matches!(schema.source, TaskSource::File(_))) {
            source["task"] = serde_json::to_value(schema.name)?;
            source["labels"] = serde_json::to_value(schema.attributes().collect::<Vec<_>>())?;
        }
        let mut asked = Map::new();
        asked.insert("source".to_owned(), source);
        let refactor = Value::from(self.load.refactor_attention);
        asked.insert("refactor_attention".to_owned(), refactor);
        // Harvests of models in f32 say nothing of it, as those that were begun before there was a choice.
        if self.load.dtype != lm::Dtype::F32 {
            asked.insert("model_dtype".to_owned(), Value::from(self.load.dtype.to_string()));
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> Result<HarvestConfig, String> {
        let file: HarvestFile = serde_json::from_value(json).map_err(|error| error.to_string())?;
        HarvestConfig::try_from(file).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_filled_in() {
        let file = serde_json::json!({
            "model": "m", "hooks": ["blocks.0.hook_resid_pre"], "source": { "kind": "prompts", "task": "ioi", "n": 10 },
        });
        let config = config(file).unwrap();
        let hooks = vec![HookPoint::ResidPre(0)];
        assert_eq!(config.selection, Selection::Hooks { hooks, roles: None });
        assert_eq!(
            (config.batch, config.rows_per_shard),
            (DEFAULT_BATCH, DEFAULT_ROWS_PER_SHARD)
        );
        assert_eq!(
            config.source,
            SourceConfig::Prompts {
                task: TaskSource::Ioi,
                n: 10,
                seed: 0
            }
        );
        assert!(!config.load.refactor_attention);
    }

    #[test]
    fn contradictions_name_the_field() {
        let ioi = serde_json::json!({ "kind": "prompts", "task": "ioi", "n": 10 });
        let text = serde_json::json!({ "kind": "text", "path": "t.txt" });
        let hook = serde_json::json!(["blocks.0.hook_resid_pre"]);
        for (file, part) in [
            (serde_json::json!({ "model": "m", "source": ioi }), "`hooks`"),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "sites": "s", "source": ioi }),
                "`sites`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "roles": ["END"], "source": text }),
                "`roles`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": [], "source": ioi }),
                "`hooks`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "source": ioi, "batch": 0 }),
                "`batch`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "source": { "kind": "prompts", "task": "ioi", "n": 0 } }),
                "`n`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "source": ioi, "bach": 1 }),
                "unknown field `bach`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "source": { "kind": "prompts", "task": "ioi", "m": 1 } }),
                "unknown field",
            ),
        ] {
            let message = config(file).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_token_that_begins_a_text_is_a_word_or_an_id() {
        let bos = |bos: serde_json::Value| {
            let source = serde_json::json!({ "kind": "text", "path": "t.txt" });
            let hooks = ["blocks.0.hook_resid_pre"];
            Ok::<_, String>(
                config(serde_json::json!({ "model": "m", "hooks": hooks, "source": source, "bos": bos }))?.bos,
            )
        };
        assert_eq!(bos("auto".into()), Ok(Bos::Auto));
        assert_eq!(bos("none".into()), Ok(Bos::None));
        assert_eq!(bos(7.into()), Ok(Bos::Id(7)));
        for odd in [
            "None".into(),
            "<s>".into(),
            (-1).into(),
            serde_json::Value::Null,
            1.5.into(),
        ] {
            let message = bos(odd).unwrap_err();
            assert!(
                message.contains(r#"expected "auto", "none" or the id of a token"#),
                "{message}"
            );
        }
    }

    #[test]
    fn prompts_begin_as_the_model_says() {
        let file = serde_json::json!({
            "model": "m", "sites": "s.toml", "source": { "kind": "prompts", "task": "ioi", "n": 2 }, "bos": "none"
        });
        let message = config(file).unwrap_err();
        assert!(message.contains("`bos`") && message.contains("text only"), "{message}");
    }

    /// Every key of a text source at the borders of what it takes: what it becomes, or the part of the message.
    #[test]
    fn border_values_of_a_text_source() {
        let source = |key: &str, value: serde_json::Value| {
            let mut source = serde_json::json!({ "kind": "text", "path": "t.txt" });
            source[key] = value;
            config(serde_json::json!({ "model": "m", "hooks": ["blocks.0.hook_resid_pre"], "source": source }))
        };
        for (key, value, part) in [
            ("path", serde_json::json!(""), "`path` is empty"),
            ("path", serde_json::json!(" \t"), "`path` is empty"),
            ("path", serde_json::json!([]), "`path` is empty"),
            ("path", serde_json::json!(["a.txt", ""]), "`path` is empty"),
            ("path", serde_json::json!(3), "expected a path or a list of paths"),
            ("text_field", serde_json::json!(""), "`text_field` is empty"),
            ("context", serde_json::json!(0), "`context` must be at least 2"),
            ("context", serde_json::json!(1), "`context` must be at least 2"),
            ("context", serde_json::json!(-1), "invalid value"),
            ("fill", serde_json::json!("Packed"), "expected `documents` or `packed`"),
            (
                "long_documents",
                serde_json::json!("drop"),
                "expected `cut` or `refuse`",
            ),
            ("on_bad_line", serde_json::json!("ignore"), "expected `error` or `skip`"),
            (
                "on_bad_lines",
                serde_json::json!("skip"),
                "unknown field `on_bad_lines`",
            ),
            (
                "spelled_special",
                serde_json::json!("exclude"),
                "expected `text` or `control`",
            ),
            ("chat", serde_json::json!("yes"), "invalid type"),
            (
                "chat_date",
                serde_json::json!("2024-07-26"),
                "`chat_date` is for chats only",
            ),
            ("chat_date", serde_json::json!("26 Jul"), "expected a day as YYYY-MM-DD"),
            ("seed", serde_json::json!(1), "unknown field `seed`"),
        ] {
            let message = source(key, value.clone()).unwrap_err();
            assert!(message.contains(part), "{key} = {value}: {message}");
        }
        for (key, value, expected) in [
            ("path", serde_json::json!(["a", "b"]), "Many([\"a\", \"b\"])"),
            (
                "path",
                serde_json::json!("t.txt"),
                "long_documents: Cut, on_bad_line: Error",
            ),
            (
                "path",
                serde_json::json!("t.txt"),
                "text_field: None, chat: false, chat_date: None, context: 128, fill: Documents",
            ),
            ("text_field", serde_json::json!(" a.b "), "text_field: Some(\" a.b \")"),
            ("context", serde_json::json!(2), "context: 2"),
            ("context", serde_json::json!(1_000_000_000), "context: 1000000000"),
            ("fill", serde_json::json!("packed"), "fill: Packed"),
            ("long_documents", serde_json::json!("refuse"), "long_documents: Refuse"),
            ("on_bad_line", serde_json::json!("skip"), "on_bad_line: Skip"),
            ("spelled_special", serde_json::json!("text"), "spelled_special: Text"),
            (
                "spelled_special",
                serde_json::json!("control"),
                "spelled_special: Control",
            ),
        ] {
            let found = format!("{:?}", source(key, value.clone()).unwrap().source);
            assert!(found.contains(expected), "{key} = {value}: {found}");
        }
    }
}
