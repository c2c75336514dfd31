//! `saelab find`: functions with known descriptions are explained, and the explanations judged.

use std::path::PathBuf;

use explain::agent::{Agent, LanguageJudge};
use explain::find::{Control, Executes, Explainer, FindFile, Judge, Scored, offline, run, run_control};
use explain::find_data::{self, MissingMlps};
use explain::find_table::table;
use explain::{Problem, Status};

use crate::language_model::{EndpointFailed, LanguageModel};
use crate::{ConfigFile, Context, Outcome, Result};
use artifacts::HeldFolder;

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/find/quick.toml.
    pub config: ConfigFile,
    /// Folder of FIND's own data (`find-dataset` of its repository), in place of functions made from the seed.
    pub data: Option<PathBuf>,
    /// Folder of the results.
    pub out: PathBuf,
    /// Who decides unit tests: `exec` executes what explanations claim, `lm` asks the language model.
    pub judge: JudgeName,

    /// A language model that explains or judges, where one is asked.
    pub language: LanguageModel,
}

/// Who decides unit tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JudgeName {
    /// What explanations claim is executed.
    Exec,
    /// The language model is asked.
    Lm,
}

/// Explanations of functions, judged.
#[derive(Debug)]
pub struct Found {
    /// Every explanation with its scores.
    pub scored: Vec<Scored>,
    /// Explanations that the server gave none of.
    pub failed: Option<EndpointFailed>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Found>> {
        let file: FindFile = self.config.read()?;
        let refused = |error: explain::Error| self.config.refused(error);
        file.validate().map_err(refused)?;
        let client = self.language.client(self.judge == JudgeName::Lm, file.seed)?;
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
            .zip(self.language.mode)
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
        let spent = client
            .as_ref()
            .map(|client| format!("find: {} tokens, {} requests", client.spent(), client.requests()));
        let failed = all
            .iter()
            .filter(|scored| scored.status == Status::EndpointFailed)
            .count();
        let failed = (failed > 0).then_some(EndpointFailed {
            failed,
            all: problems.len(),
        });
        let table = table(&all, file.resamples, file.seed);
        Ok(Outcome::new(Found { scored: all, failed }, table)
            .remark(format!("find: find.jsonl is in {}", self.out.display()))
            .remark(spent))
    }

    fn explain(
        &self,
        problems: &[Problem],
        explainers: &[&dyn Explainer],
        judge: &dyn Judge,
        asks: bool,
        file: &FindFile,
        context: &Context,
    ) -> Result<Vec<Scored>> {
        let takes = |explainer: &&&dyn Explainer| {
            problems
                .iter()
                .filter(|problem| explainer.takes(problem.kind()))
                .count()
        };
        let total: usize = explainers.iter().map(|explainer| takes(&explainer)).sum();
        context.note(&format!(
            "find: {} functions, {total} explanations, {} unit tests each",
            problems.len(),
            explain::problems::TESTS
        ));
        let bar = context.bar("find", total);
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
