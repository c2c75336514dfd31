//! Sites: where attributes are read and edited.
//!
//! A site is the "cross-section" of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366),
//! section 3): one or more nodes that are overwritten together, and the attributes that are edited there. Sites are a
//! file (`sites.toml`, read and written by the program) that [`crate::locate()`] makes and that carries its evidence.

use crate::Error;
use activations::Node;
use lm::{HookPoint, Model, Spec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tasks::{Attribute, Schema, TaskSource};

/// What was measured at a site for one attribute, before any dictionary was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The attribute that the counterfactual prompts change.
    pub attribute: Attribute,
    /// Share of prompts (0 to 1) whose argmax changes when the counterfactual's activations are patched in.
    pub changed: f64,
    /// Share of the clean mean logit difference that mean ablation removes, `1 - LD_ablated / LD_clean`.
    pub removed: f64,
    /// Number of prompts behind both shares.
    pub n: usize,
}

/// Nodes that are overwritten together, and the attributes edited there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Name in reports; unique.
    pub name: String,
    /// The nodes, all overwritten in one run.
    pub nodes: Vec<Node>,
    /// The attributes that are edited here.
    pub attributes: Vec<Attribute>,
    /// Why the site was chosen. Default none: a site written by hand.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
}

/// The sites of one model for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sites {
    /// The task whose attributes are edited: `ioi`, `pronoun`, or the path of a task file. Default `ioi`.
    #[serde(default)]
    pub task: TaskSource,
    /// Hash of the weights in which the sites were found (`lm::Model::file_hash`: re-factored weights behave alike). Default none:
    /// a file that names places known from elsewhere is good for any model that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// The sites.
    pub sites: Vec<Site>,
}

impl Sites {
    /// Checks that the sites belong to `model`, exist in it and can be overwritten.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] when there is a hash and it names other weights; otherwise as [`Sites::validate`].
    pub fn check(&self, schema: &Schema, model: &Model) -> Result<(), Error> {
        if let Some(hash) = &self.model_hash
            && hash != model.file_hash()
        {
            return Err(Error::ModelMismatch {
                sites: hash.clone(),
                model: model.file_hash().to_owned(),
            });
        }
        self.validate(schema, model.spec())
    }

    /// Checks names, attributes and nodes against the task and the size of the model.
    ///
    /// # Errors
    /// Those of [`Sites::check_task`]; [`Error::Activations`] and [`Error::Node`] for a node that does not exist or cannot be
    /// overwritten.
    pub fn validate(&self, schema: &Schema, config: &Spec) -> Result<(), Error> {
        self.check_task(schema)?;
        for node in self.nodes() {
            node.validate(config)?;
            restart_layer(&node)?;
        }
        Ok(())
    }

    /// Checks what can be checked without a model: names, attributes and roles against the schema of the task.
    ///
    /// # Errors
    /// [`Error::TaskMismatch`] for the schema of another task; [`Error::Site`] for an empty, doubled or contradictory site.
    pub fn check_task(&self, schema: &Schema) -> Result<(), Error> {
        let fail = |site: &str, reason: &str| {
            Err(Error::Site {
                site: site.to_owned(),
                reason: reason.to_owned(),
            })
        };
        if self.task != schema.source {
            return Err(Error::TaskMismatch {
                sites: self.task.clone(),
                prompts: schema.source.clone(),
            });
        }
        if self.sites.is_empty() {
            return fail("(none)", "the file lists no sites");
        }
        let mut names = BTreeSet::new();
        for site in &self.sites {
            if !names.insert(&site.name) {
                return fail(&site.name, "the name occurs twice");
            }
            if site.nodes.is_empty() {
                return fail(&site.name, "it has no nodes");
            }
            if site.attributes.is_empty() {
                return fail(&site.name, "it has no attributes");
            }
            if site.nodes.iter().collect::<BTreeSet<_>>().len() < site.nodes.len() {
                return fail(&site.name, "it lists a node twice");
            }
            if site.attributes.iter().collect::<BTreeSet<_>>().len() < site.attributes.len() {
                return fail(&site.name, "it lists an attribute twice");
            }
            let task = schema.name;
            if let Some(other) = site.attributes.iter().find(|other| !schema.edited.contains(other)) {
                return fail(&site.name, &format!("task {task} has no attribute {other}"));
            }
            if let Some(other) = site.nodes.iter().find(|node| !schema.roles.contains(&node.role)) {
                return fail(&site.name, &format!("task {task} has no role {}", other.role));
            }
        }
        Ok(())
    }

    /// Every node of every site, once.
    pub fn nodes(&self) -> BTreeSet<Node> {
        self.sites.iter().flat_map(|site| site.nodes.iter().copied()).collect()
    }
}

/// The block before which a run that overwrites `node` may restart.
///
/// # Errors
/// [`Error::Node`] for hooks outside the blocks (embeddings, the final norm) and for attention patterns: the first have
/// no block to restart at, the second are no vector per prompt.
pub fn restart_layer(node: &Node) -> Result<usize, Error> {
    match node.hook {
        HookPoint::Pattern(_) => Err(Error::Node {
            node: *node,
            reason: "an attention pattern is not one vector per prompt".into(),
        }),
        hook => hook.layer().ok_or_else(|| Error::Node {
            node: *node,
            reason: "only hooks inside a block can be overwritten at a site".into(),
        }),
    }
}
