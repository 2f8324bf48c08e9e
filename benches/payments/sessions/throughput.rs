//! Chunks per second, and how many of them share a commit.

use std::time::Duration;

use anyhow::Result;

use super::contender::{Contender, Round};
use crate::report::{Table, median, micros, number, real};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(1500);
const STREAMS: [usize; 3] = [1, 64, 1000];
pub const BASELINE: &str = "unmetered";

pub fn measure(contenders: &mut [Contender]) -> Result<()> {
    let mut rounds: Vec<Vec<Vec<Round>>> = STREAMS.iter().map(|_| Vec::new()).collect();
    for (streams, rounds) in STREAMS.into_iter().zip(&mut rounds) {
        rounds.extend(contenders.iter().map(|_| Vec::new()));
        for _ in 0..ROUNDS {
            for (contender, rounds) in contenders.iter_mut().zip(&mut *rounds) {
                rounds.push(contender.round(streams, 0, ROUND)?);
            }
        }
    }
    print(contenders, &rounds);
    Ok(())
}

fn print(contenders: &[Contender], rounds: &[Vec<Vec<Round>>]) {
    let mut table = Table::new(&[
        "",
        "chunks/s",
        "of unmetered",
        "server CPU us/chunk",
        "of unmetered",
        "commits/s",
        "charges/commit",
        "chunks/commit",
    ]);
    for (streams, rounds) in STREAMS.into_iter().zip(rounds) {
        let middle =
            |rounds: &[Round], of: fn(&Round) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
        let cost = |round: &Round| micros(round.cpu) / real(round.seen.chunks);
        let yardstick = contenders.iter().position(|c| c.name == BASELINE).unwrap_or(0);
        let unmetered = &rounds[yardstick];
        for (contender, rounds) in contenders.iter().zip(rounds) {
            let (rate, cpu) = (middle(rounds, Round::rate), middle(rounds, cost));
            let (commits, charges) = (middle(rounds, |r| r.commits), middle(rounds, |r| r.charges));
            let word = if streams == 1 { "stream" } else { "streams" };
            let mut cells = vec![
                number(rate),
                number(rate / middle(unmetered, Round::rate)),
                number(cpu),
                number(cpu / middle(unmetered, cost)),
            ];
            if commits > 0.0 {
                cells.extend([number(commits), number(charges / commits), number(rate / commits)]);
            }
            table.row(&format!("{}, {streams} {word}", contender.name), cells);
        }
    }
    table.print();
    println!(
        "  Medians of {ROUNDS} alternating rounds. Upstream, servers and readers share the machine's cores; the \
         CPU time is that of\n  the server alone, SQLite within it and PostgreSQL not. Channels stood in databases \
         and stores before: there is no chain."
    );
    for contender in contenders.iter().filter(|contender| contender.restarts > 0) {
        println!(
            "  {} was started anew {} times: it went on working for readers that had gone.",
            contender.name, contender.restarts
        );
    }
}
