//! The dictionaries of an experiment's folder, as sets that an evaluation takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use activations::{Dictionary, Node, Store};
use eval::{DictionarySet, Edit};
use lm::files;
use sae::{Autoencoder, Origin};
use supervised::SupervisedDictionary;

use super::Context;
use super::run_folder::{self, RunFolder};
use super::training_site::TrainingSite;

/// A dictionary a node.
pub(super) type ByNode = BTreeMap<Node, Box<dyn Dictionary>>;

/// Every supervised dictionary and every autoencoder of the experiment.
pub(super) fn load(
    run: &RunFolder,
    store: &Store,
    nodes: &BTreeSet<Node>,
    context: &Context,
) -> anyhow::Result<Vec<DictionarySet>> {
    let mut sets = Vec::new();
    for name in run_folder::folders(&run.supervised())? {
        let (mut by_node, mut weights) = (ByNode::new(), Vec::new());
        for &node in nodes {
            let dir = run.supervised().join(&name).join(node.dir_name());
            let (dictionary, origin) = SupervisedDictionary::load(&dir, &context.device)?;
            check_parent(&dir, &origin.parent, store)?;
            weights.extend(["dictionary.safetensors", "config.json"].map(|file| dir.join(file)));
            by_node.insert(node, Box::new(dictionary));
        }
        sets.push(DictionarySet {
            family: name.clone(),
            name,
            identity: identity(&weights)?,
            edit: Edit::Supervised,
            by_node,
        });
    }
    for name in run_folder::folders(&run.sae())? {
        let (mut by_node, mut weights, mut family) = (ByNode::new(), Vec::new(), name.clone());
        for &node in nodes {
            // Trained on this node, or on all positions of its hook.
            let at_node = run.sae().join(&name).join(node.dir_name());
            let at_hook = run
                .sae()
                .join(&name)
                .join(TrainingSite::Hook(node.hook, node.head).dir_name());
            let dir = if at_hook.exists() && !at_node.exists() {
                at_hook
            } else {
                at_node
            };
            let (dictionary, origin) = Autoencoder::load(&dir, &context.device)?;
            weights.extend(["sae_weights.safetensors", "cfg.json"].map(|file| dir.join(file)));
            if let Origin::Trained(trained) = &origin {
                let seed = format!("-seed{}", trained.variant.seed);
                family = name.strip_suffix(&seed).unwrap_or(&name).to_owned();
                match trained.site.contains('@') {
                    true => check_parent(&dir, &trained.parent, store)?,
                    false => anyhow::ensure!(
                        trained.model == store.manifest().provenance.model_hash,
                        "{} was trained on another model ({:.12}); run `saelab train` again",
                        dir.display(),
                        trained.model
                    ),
                }
            }
            if let Some(reason) = dictionary.not_a_dictionary() {
                anyhow::bail!("{} cannot be compared: {reason}; move it out of the run", dir.display());
            }
            by_node.insert(node, Box::new(dictionary));
        }
        sets.push(DictionarySet {
            name,
            family,
            identity: identity(&weights)?,
            edit: Edit::Greedy,
            by_node,
        });
    }
    anyhow::ensure!(
        !sets.is_empty(),
        "{} holds no dictionaries; run `saelab fit` and `saelab train` first",
        run.0.display()
    );
    Ok(sets)
}

/// Hash of the contents of all files.
fn identity(weights: &[PathBuf]) -> anyhow::Result<String> {
    let mut all = String::new();
    for path in weights {
        all += &files::sha256_file(path)?;
    }
    Ok(files::sha256_hex(all.as_bytes()))
}

/// A dictionary made from other activations than those in the experiment's folder must not be compared.
fn check_parent(dir: &Path, parent: &str, store: &Store) -> anyhow::Result<()> {
    anyhow::ensure!(
        parent == store.hash(),
        "{} was made from other activations ({parent:.12}) than those of this run ({:.12}); run `saelab fit` and `saelab train` again",
        dir.display(),
        store.hash()
    );
    Ok(())
}
