//! `plug`: asks the host for a DIMM.

use super::super::words;
use super::{Failure, Out, Outcome, Wanted, ask};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Flag, JSON, Operands};
use carapace_cli::format_size::ShortSize;
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_schema::{Plug, Text, Word};

const NODE: Flag = Flag::new("--node", "into this node; 0 without").value("N");

/// `plug`.
pub static COMMAND: Command = Command {
    name: "plug",
    summary: "plugs a DIMM of this size, by the host",
    operands: Operands::one("SIZE"),
    operand_help: &[("SIZE", "A multiple of 2M, in bytes or with suffix K, M, G or T.")],
    words: |place, word| words::nodes(place, &NODE, word),
    flags: &[NODE, JSON],
    example: "plug 256M --node 1",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let size = parse::size(invocation.operand(0).unwrap_or_default()).map_err(Failure::of)?;
    let node = invocation.value(&NODE).map_or(Ok(0), |text| parse::integer(text, "a node's number"));
    let node = u32::try_from(node.map_err(Failure::of)?).map_err(|_| Failure::of("there is no such node"))?;
    let lines = format_args!(
        "    object_add memory-backend-ram,id=ram0,size={size},reserve=off\n    \
         device_add pc-dimm,id=dimm0,memdev=ram0,node={node}"
    );
    let text = ask(Wanted::Plug { size, node }, "plug", invocation.format(), lines).await?;
    let (id, state) = text.split_once(' ').unwrap_or((&text, "online"));
    let row = Plug { id: Text::of(&id), size, node, state: Word::of(&state) };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => writeln!(Out, "{id}: {} {state} on node {node}", ShortSize(size))?,
    }
    Ok(())
}
