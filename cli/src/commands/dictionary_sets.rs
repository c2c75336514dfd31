//! The dictionaries of an experiment's folder, as sets that an evaluation takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use activations::{Dictionary, Node, Store};
use anyhow::Context as _;
use eval::{DictionarySet, Edit};
use lm::files;
use sae::{Autoencoder, Origin};
use supervised::SupervisedDictionary;

use super::Context;
use super::hook_autoencoders;
use super::run_folder::{self, RunFolder};
use super::training_site::TrainingSite;
use crate::output;

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
        let (mut by_node, mut folders) = (ByNode::new(), BTreeMap::new());
        for &node in nodes {
            let dir = run.supervised().join(&name).join(node.dir_name());
            let (dictionary, origin) = SupervisedDictionary::load(&dir, &context.device)?;
            check_parent(&dir, &origin.parent, store)?;
            anyhow::ensure!(
                origin.node == node,
                "{} holds a dictionary of {}; move it to the folder of that name",
                dir.display(),
                origin.node
            );
            let files = ["dictionary.safetensors", "config.json"].map(|file| dir.join(file));
            folders.insert(node.dir_name(), hash_of(&files)?);
            by_node.insert(node, Box::new(dictionary));
        }
        sets.push(DictionarySet {
            family: name.clone(),
            name,
            identity: identity(&by_node, &folders),
            folders,
            seeded: false,
            edit: Edit::Supervised,
            by_node,
        });
    }
    for name in run_folder::folders(&run.sae())? {
        let (mut by_node, mut folders, mut family) = (ByNode::new(), BTreeMap::new(), name.clone());
        let mut missing = Vec::new();
        for &node in nodes {
            // Made for this node, or for all positions of its hook; of a library that is not ours, perhaps.
            let places = [TrainingSite::Node(node), TrainingSite::Hook(node.hook, node.head)];
            let folder = |place: TrainingSite| run.sae().join(&name).join(place.dir_name());
            let Some(place) = places.into_iter().find(|place| folder(*place).exists()) else {
                missing.push(node.to_string());
                continue;
            };
            let dir = folder(place);
            let (dictionary, origin) = Autoencoder::open(&dir, &context.device)?;
            hook_autoencoders::check_site(&dir, &origin, &places)?;
            folders.insert(place.dir_name(), hash_of_autoencoder(&dir, &origin)?);
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
        if !missing.is_empty() {
            let missing = missing.join(", ");
            output::note(&format!(
                "eval: {name} is left out where it has no dictionary: {missing}"
            ));
        }
        sets.push(DictionarySet {
            name,
            family,
            identity: identity(&by_node, &folders),
            folders,
            seeded: true,
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

/// Hash of the files that make an autoencoder what it is.
pub(super) fn hash_of_autoencoder(dir: &Path, origin: &Origin) -> anyhow::Result<String> {
    hash_of(&files_of(dir, origin)?)
}

/// The files that make an autoencoder what it is; of a folder of another library all of them.
fn files_of(dir: &Path, origin: &Origin) -> anyhow::Result<Vec<PathBuf>> {
    if let Origin::Trained(_) = origin {
        return Ok(["sae_weights.safetensors", "cfg.json"]
            .map(|file| dir.join(file))
            .to_vec());
    }
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("cannot list {}", dir.display()))?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// Hash of the contents of all files.
fn hash_of(paths: &[PathBuf]) -> anyhow::Result<String> {
    let mut all = String::new();
    for path in paths {
        all += &files::sha256_file(path)?;
    }
    Ok(files::sha256_hex(all.as_bytes()))
}

/// Hash of which dictionary stands at which node.
fn identity(by_node: &ByNode, folders: &BTreeMap<String, String>) -> String {
    let nodes: Vec<String> = by_node.keys().map(ToString::to_string).collect();
    files::sha256_hex(format!("{nodes:?} {folders:?}").as_bytes())
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
