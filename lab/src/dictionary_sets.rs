//! The dictionaries of an experiment's folder, as sets that an evaluation takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use activations::{Node, Store};
use dictionaries::{Autoencoder, Format, Origin};
use eval::{DictionarySet, Edit, TaskDictionary};
use supervised::SupervisedDictionary;

use crate::hook_autoencoders;
use crate::identity::{hash_of, hash_of_autoencoder};
use crate::left_out::LeftOut;
use crate::run_folder::{self, RunFolder};
use crate::training_site::TrainingSite;
use crate::{ConfigError, Context, Result};

/// A dictionary a node.
pub(super) type ByNode = BTreeMap<Node, Box<TaskDictionary>>;

/// Every supervised dictionary and every autoencoder of the experiment, or those whose name or family is in `only`; what stands in
/// the folder of another place is left out.
pub(super) fn load(
    run: &RunFolder,
    store: &Store,
    nodes: &BTreeSet<Node>,
    only: &[String],
    left_out: &mut LeftOut,
    context: &Context,
) -> Result<Vec<DictionarySet>> {
    let mut supervised = run_folder::folders(&run.supervised())?;
    let mut trained = run_folder::folders(&run.sae())?;
    if !only.is_empty() {
        let known = [supervised.as_slice(), trained.as_slice()].concat();
        if let Some(unknown) = only
            .iter()
            .find(|named| !known.iter().any(|name| is_called(name, named)))
        {
            let reason = format!("--only {unknown}: the run holds {}", known.join(", "));
            return Err(ConfigError(reason).into());
        }
        let is_asked = |name: &String| only.iter().any(|named| is_called(name, named));
        supervised.retain(is_asked);
        trained.retain(is_asked);
    }
    for names in [run.supervised(), run.sae()] {
        left_out.look_below(&names)?;
    }
    let mut sets = Vec::new();
    for name in supervised {
        let (mut by_node, mut folders) = (ByNode::new(), BTreeMap::new());
        for &node in nodes {
            let dir = run.supervised().join(&name).join(node.dir_name());
            let (dictionary, origin) = SupervisedDictionary::load(&dir, &context.device)?;
            check_parent(&dir, &origin.parent, store)?;
            if origin.node != node {
                left_out.add(format!(
                    "{} holds a dictionary of {}; move it to the folder of that name",
                    dir.display(),
                    origin.node
                ));
                continue;
            }
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
            reads: BTreeMap::new(),
        });
    }
    for name in trained {
        sets.push(autoencoders(run, name, store, nodes, left_out, context)?);
    }
    sets.retain(|set| !set.by_node.is_empty());
    left_out.check_rest(sets.len())?;
    ensure!(
        !sets.is_empty(),
        "{} holds no dictionaries; run `saelab fit` and `saelab train` first",
        run.0.display()
    );
    Ok(sets)
}

/// Whether a dictionary has this name, or this is its family: the name without its seed.
fn is_called(name: &str, named: &str) -> bool {
    match name.strip_prefix(named) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix("-seed")
            .is_some_and(|seed| seed.parse::<u64>().is_ok()),
        None => false,
    }
}

/// The autoencoders and transcoders of one name.
fn autoencoders(
    run: &RunFolder,
    name: String,
    store: &Store,
    nodes: &BTreeSet<Node>,
    left_out: &mut LeftOut,
    context: &Context,
) -> Result<DictionarySet> {
    let (mut by_node, mut folders, mut family) = (ByNode::new(), BTreeMap::new(), name.clone());
    let (mut reads, mut missing) = (BTreeMap::new(), Vec::new());
    let mut transcoders: Option<Vec<Found>> = None;
    for &node in nodes {
        let found = match left_out.keep(at_node(run, &name, node, context))? {
            None => continue,
            Some(Some(found)) => found,
            Some(None) => {
                let all = match &mut transcoders {
                    Some(all) => all,
                    none => none.insert(all_transcoders(run, &name, context)?),
                };
                let mut writing = all.iter().filter(|found| found.writes(node));
                match (writing.next(), writing.next()) {
                    (Some(found), None) => {
                        reads.insert(node, found.input(node));
                        found.clone()
                    }
                    (Some(one), Some(other)) => bail!(
                        "{} and {} both write {node}; move one of them to another name",
                        one.dir.display(),
                        other.dir.display()
                    ),
                    (None, _) => {
                        missing.push(node.to_string());
                        continue;
                    }
                }
            }
        };
        let Found {
            site,
            dir,
            dictionary,
            origin,
        } = found;
        if let Some(reason) = dictionary.not_a_dictionary() {
            left_out.add(format!("{} cannot be compared: {reason}", dir.display()));
            continue;
        }
        folders.insert(site.dir_name(), hash_of_autoencoder(&dir, &origin)?);
        if let Origin::Trained(trained) = &origin {
            let seed = format!("-seed{}", trained.variant.seed);
            family = name.strip_suffix(&seed).unwrap_or(&name).to_owned();
            match trained.site.contains('@') {
                true => check_parent(&dir, &trained.parent, store)?,
                false => ensure!(
                    trained.model == store.manifest().provenance.model_hash,
                    "{} was trained on another model ({:.12}); run `saelab train` again",
                    dir.display(),
                    trained.model
                ),
            }
        }
        by_node.insert(node, Box::new(dictionary));
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        context.note(&format!(
            "eval: {name} is left out where it has no dictionary: {missing}"
        ));
    }
    Ok(DictionarySet {
        name,
        family,
        identity: identity(&by_node, &folders),
        folders,
        seeded: true,
        edit: Edit::Greedy,
        by_node,
        reads,
    })
}

/// A dictionary in a folder of the run.
#[derive(Clone)]
struct Found {
    /// What it reads.
    site: TrainingSite,
    dir: PathBuf,
    dictionary: Autoencoder,
    origin: Origin,
}

impl Found {
    /// Whether it is a transcoder of this node: of its hook, at its position or at all of them.
    fn writes(&self, node: Node) -> bool {
        let here = match self.site {
            TrainingSite::Node(input) => input.role == node.role,
            TrainingSite::Hook(..) => true,
        };
        here && node.head.is_none() && self.origin.writes() == Some(node.hook)
    }

    /// The node that it reads when it writes `node`.
    fn input(&self, node: Node) -> Node {
        let (hook, head) = self.site.place();
        Node { hook, head, ..node }
    }
}

/// The autoencoder made for this node, or for all positions of its hook; of a library that is not ours, perhaps. A transcoder that
/// reads the node does not give back what stands there.
fn at_node(run: &RunFolder, name: &str, node: Node, context: &Context) -> Result<Option<Found>> {
    let places = [TrainingSite::Node(node), TrainingSite::Hook(node.hook, node.head)];
    let folder = |place: TrainingSite| run.sae().join(name).join(place.dir_name());
    let Some(site) = places.into_iter().find(|place| folder(*place).exists()) else {
        return Ok(None);
    };
    let dir = folder(site);
    let (dictionary, origin) = hook_autoencoders::open(&dir, context)?;
    hook_autoencoders::check_site(&dir, &origin, &places)?;
    let found = Found {
        site,
        dir,
        dictionary,
        origin,
    };
    Ok((!found.dictionary.transcodes).then_some(found))
}

/// The transcoders of a name.
fn all_transcoders(run: &RunFolder, name: &str, context: &Context) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for folder in run_folder::folders(&run.sae().join(name))? {
        let dir = run.sae().join(name).join(&folder);
        // In training still; where it is wanted, it is named as such.
        if Format::of(&dir).is_err() {
            continue;
        }
        let (dictionary, origin) = Autoencoder::open(&dir, &context.device)?;
        if !dictionary.transcodes {
            continue;
        }
        let node = match &origin {
            Origin::Trained(trained) => trained.site.parse().ok().map(TrainingSite::Node),
            Origin::Imported { .. } => None,
        };
        let site = match node {
            Some(node) if node.dir_name() == folder => node,
            _ => match folder.parse() {
                Ok(site) => site,
                Err(_) => continue,
            },
        };
        if hook_autoencoders::check_site(&dir, &origin, &[site]).is_err() {
            // Named where its own place is looked at.
            continue;
        }
        all.push(Found {
            site,
            dir,
            dictionary,
            origin,
        });
    }
    Ok(all)
}

/// Hash of which dictionary stands at which node.
fn identity(by_node: &ByNode, folders: &BTreeMap<String, String>) -> String {
    let nodes: Vec<String> = by_node.keys().map(ToString::to_string).collect();
    artifacts::sha256_hex(format!("{nodes:?} {folders:?}").as_bytes())
}

/// A dictionary made from other activations than those in the experiment's folder must not be compared.
fn check_parent(dir: &Path, parent: &str, store: &Store) -> Result<()> {
    ensure!(
        parent == store.hash(),
        "{} was made from other activations ({parent:.12}) than those of this run ({:.12}); run `saelab fit` and `saelab train` again",
        dir.display(),
        store.hash()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_name_without_its_seed() {
        for named in ["sae-topk-seed3", "sae-topk"] {
            assert!(is_called("sae-topk-seed3", named));
        }
        for named in ["sae", "sae-topk-seed", "sae-topk-seed33", "topk"] {
            assert!(!is_called("sae-topk-seed3", named), "{named}");
        }
        assert!(!is_called("sae-topk-frozen-seed3", "sae-topk"));
    }
}
