//! What every stage gets besides its own settings.

use burn::tensor::Device;

use crate::made::Program;
use crate::reporter::{Bar, Reporter, Silent};

/// What every stage gets besides its own settings: the device, the program that runs it, and who is told what it does.
pub struct Context {
    /// Where tensors live.
    pub device: Device,
    /// The name of the device, as users write it.
    pub device_name: String,
    /// What stands in `made.json` beside every artefact, and names caches.
    pub program: Program,
    reporter: Box<dyn Reporter>,
}

impl Context {
    /// What stages get from a program that prints.
    pub fn new(device: Device, device_name: String, program: Program, reporter: Box<dyn Reporter>) -> Self {
        Self {
            device,
            device_name,
            program,
            reporter,
        }
    }

    /// The CPU, and nobody who is told anything.
    pub fn silent(program: Program) -> Self {
        Self::new(kernels::cpu(), "cpu".to_owned(), program, Box::new(Silent))
    }

    /// All of program and machine that figures depend on: the sources, the device, and the instruction sets, which change the
    /// last digits.
    pub fn program_key(&self) -> String {
        let device = match self.device_name.as_str() {
            "cpu" => format!("{} {}", kernels::instruction_set(), kernels::bf16_instruction_set()),
            other => other.to_owned(),
        };
        format!("{} {device}", self.program.sources)
    }

    /// Tells a remark of one line.
    pub fn note(&self, text: &str) {
        self.reporter.note(text);
    }

    /// A bar of `total` steps named `what`.
    pub fn bar(&self, what: &str, total: usize) -> Box<dyn Bar> {
        self.reporter.bar(what, total)
    }

    /// A bar of `total` steps named `what`, with room for lines below it.
    pub fn group(&self, what: &str, total: usize) -> Box<dyn Bar> {
        self.reporter.group(what, total)
    }
}
