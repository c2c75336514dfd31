//! `saelab find`: functions with known descriptions are explained, and the explanations judged.

use std::path::PathBuf;

use explain::agent::{Agent, LanguageJudge};
use explain::find::{Control, Executes, Explainer, FindFile, Judge, Scored, offline, run, run_control};
use explain::find_data::{self, MissingMlps};
use explain::find_table::table;
use explain::{Problem, Status};

use super::Context;
use super::language_model::{EndpointFailed, LanguageModelArgs};
use crate::config::{self, ConfigError};
use crate::output;
use artifacts::HeldFolder;

/// Arguments of `saelab find`.
#[derive(Debug, clap::Args)]
pub(crate) struct Find {
    /// Config, for example configs/find/quick.toml
    config: PathBuf,
    /// Folder of FIND's own data (`find-dataset` of its repository), in place of functions made from the seed
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of the results
    #[arg(long)]
    out: PathBuf,
    /// Who decides unit tests: `exec` executes what explanations claim, `lm` asks the language model
    #[arg(long, value_enum, default_value = "exec")]
    judge: JudgeName,
    #[command(flatten)]
    model: LanguageModelArgs,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum JudgeName {
    Exec,
    Lm,
}

impl Find {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file: FindFile = config::read(&self.config, &self.set)?;
        let refused = |error: explain::Error| ConfigError(format!("{}: {error}", self.config.display()));
        file.validate().map_err(refused)?;
        let client = self.model.client(self.judge == JudgeName::Lm, file.seed)?;
        let held = HeldFolder::new(&self.out)?;
        let problems = match &self.data {
            None => file.problems(),
            Some(folder) => find_data::read(folder, MissingMlps::Train(file.mlp), file.seed)?,
        };
        let language_judge = client.as_ref().map(|client| LanguageJudge { client });
        let judge: &dyn Judge = match (self.judge, &language_judge) {
            (JudgeName::Lm, Some(judge)) => judge,
            _ => &Executes,
        };
        let agent = client
            .as_ref()
            .zip(self.model.explainer.mode())
            .map(|(client, mode)| Agent { client, mode });
        let offline = offline(file.seed);
        let explainers: Vec<&dyn Explainer> = match &agent {
            Some(agent) => vec![agent],
            None => offline.iter().map(|explainer| explainer as &dyn Explainer).collect(),
        };
        let all = self.explain(&problems, &explainers, judge, agent.is_some(), &file, context)?;
        let lines: Result<Vec<String>, _> = all.iter().map(serde_json::to_string).collect();
        let mut text = lines?.join("\n");
        text.push('\n');
        held.check()?;
        artifacts::write_atomic(&self.out.join("find.jsonl"), |file| file.write_all(text.as_bytes()))?;
        held.check()?;
        output::result(&table(&all, file.resamples, file.seed))?;
        output::note(&format!("find: find.jsonl is in {}", self.out.display()));
        if let Some(client) = &client {
            output::note(&format!(
                "find: {} tokens, {} requests",
                client.spent(),
                client.requests()
            ));
        }
        let failed = all
            .iter()
            .filter(|scored| scored.status == Status::EndpointFailed)
            .count();
        match failed {
            0 => Ok(()),
            failed => Err(EndpointFailed {
                failed,
                all: problems.len(),
            }
            .into()),
        }
    }

    fn explain(
        &self,
        problems: &[Problem],
        explainers: &[&dyn Explainer],
        judge: &dyn Judge,
        asks: bool,
        file: &FindFile,
        context: &Context,
    ) -> anyhow::Result<Vec<Scored>> {
        let takes = |explainer: &&&dyn Explainer| {
            problems
                .iter()
                .filter(|problem| explainer.takes(problem.kind()))
                .count()
        };
        let total: usize = explainers.iter().map(|explainer| takes(&explainer)).sum();
        output::note(&format!(
            "find: {} functions, {total} explanations, {} unit tests each",
            problems.len(),
            explain::problems::TESTS
        ));
        let bar = context.progress.bar("find", total);
        let mut all = Vec::new();
        for explainer in explainers {
            // Requests to a server go out one after the other.
            all.extend(run(
                problems,
                *explainer,
                judge,
                file.budget,
                file.seed,
                !asks,
                &|| bar.inc(1),
            )?);
        }
        for control in Control::ALL {
            all.extend(run_control(problems, control, judge)?);
        }
        bar.finish_and_clear();
        Ok(all)
    }
}
