//! How a step of the tests ended. Neighbours: `test` runs the steps, `deps` is some of them.

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Passed,
    /// Not well; its output says why.
    Failed,
    /// It could not run, for a reason outside the tested code.
    NotRun(&'static str),
}
