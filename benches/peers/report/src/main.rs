//! Measures this crate and its peers, and writes `benches/RESULTS.md` and its plots. See `../README.md`.

mod application;
mod budgets;
mod check;
mod counts;
mod document;
mod growth;
mod http;
mod load;
mod machine;
mod options;
mod peers;
mod plot;
mod server;

use std::process::ExitCode;

use options::Options;

/// An error, with a message for the user.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(options) = Options::read()? else {
        println!("{}", options::HELP);
        return Ok(());
    };
    if options.plots {
        return document::draw();
    }
    if options.growth {
        return growth::run(&options);
    }
    if options.build {
        peers::build(&options.peers)?;
        if options.counts && !options.check_only {
            counts::build()?;
        }
    }
    check::all(&options)?;
    if options.check_only {
        return Ok(());
    }
    let loads = load::all(&options)?;
    let counts = if options.counts { Some(counts::run()?) } else { None };
    document::write(&options, &loads, counts.as_ref())
}
