//! `saelab fit`: supervised dictionaries from cached activations, one per node, method and parametrization.

use std::path::PathBuf;

use activations::Store;
use artifacts::HeldFolder;
use supervised::{FitConfig, FitFile, Origin, fit};
use tasks::ByAttribute;

use crate::made::Made;
use crate::run_folder::{self, RunFolder};
use crate::{ConfigFile, Context, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/ioi/fit.toml.
    pub config: ConfigFile,
    /// Folder of the experiment; holds activations/.
    pub run: PathBuf,
    /// Sites file.
    pub sites: PathBuf,
    /// Overwrite dictionaries of other settings or activations.
    pub replace: bool,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<()> {
        let file: FitFile = self.config.read()?;
        let refused = |error: supervised::Error| self.config.refused(error);
        let config = FitConfig::try_from(file).map_err(refused)?;
        let run = RunFolder(self.run);
        let (sites, schema) = run_folder::read_sites(&self.sites)?;
        let store = Store::open(&run.activations())?;
        run_folder::check_task(&store, &sites, &schema)?;
        let of_model = Made::read(&run.activations()).and_then(|made| made.model);
        let held = HeldFolder::new(&run.0)?;
        let nodes = sites.nodes();
        let mut written = Vec::new();
        let bar = context.bar(
            "fit",
            nodes.len() * config.methods.len() * config.parametrizations.len(),
        );
        for node in nodes {
            let rows = store.node(&node)?;
            // Values are numbered from 0, so the largest label tells how many there are.
            let largest = |attribute| rows.labels.iter().filter_map(|labels| labels.get(attribute)).max();
            let edited = schema.edited.iter();
            let n_values: ByAttribute = edited
                .filter_map(|&attribute| Some((attribute, largest(attribute)? + 1)))
                .collect();
            for &parametrization in &config.parametrizations {
                let columns = config
                    .columns(parametrization, n_values.clone(), node.role)
                    .map_err(refused)?;
                for &method in &config.methods {
                    let dictionary = fit(&rows, columns.clone(), method, &context.device)?;
                    let name = method.dictionary_name(parametrization);
                    let origin = Origin {
                        node,
                        parent: store.hash().to_owned(),
                    };
                    let dir = run.supervised().join(name).join(node.dir_name());
                    let settings = serde_json::json!({
                        "method": method, "parametrization": parametrization, "attributes": config.attributes, "node": node,
                    });
                    let made = Made::by(context, "fit", settings).with_model(of_model.clone());
                    let made = made.with_parent("activations", store.hash());
                    made.check_place(&dir.join("config.json"), Made::read(&dir).as_ref(), self.replace)?;
                    // First, so that no whole dictionary is without it.
                    made.write(&dir)?;
                    dictionary.save(&dir, &origin)?;
                    written.push(dir);
                    bar.inc(1);
                }
            }
        }
        bar.finish_and_clear();
        held.check()?;
        if let Some(gone) = written.iter().find(|dir| !dir.exists()) {
            bail!(
                "{} was removed while this command ran; run the command again",
                gone.display()
            );
        }
        context.note(&format!(
            "fit: supervised dictionaries in {}",
            run.supervised().display()
        ));
        Ok(())
    }
}
