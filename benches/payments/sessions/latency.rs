//! Latency that a charge adds to a chunk, at a rate that models have.

use std::time::Duration;

use anyhow::Result;

use super::contender::{Contender, Round};
use super::throughput::BASELINE;
use crate::report::{Table, median, number};

const STREAMS: usize = 1000;
/// Chunks per second of each stream: the first one that this machine delivers is measured, and a
/// quarter of it.
const RATES: [u64; 5] = [50, 25, 10, 5, 2];
/// Less of the rate than this is not delivering it.
const KEPT_SHARE: f64 = 0.97;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const TRIAL: Duration = Duration::from_secs(1);

pub fn measure(contenders: &mut [Contender]) -> Result<()> {
    let mut farebox: Vec<_> =
        contenders.iter_mut().filter(|c| c.is_farebox() || c.name == BASELINE).collect();
    let highest = reached(&mut farebox)?;
    // At the highest rate the machine has nothing left, and what waits is waited for.
    for rate in [highest, highest.div_ceil(4)] {
        let mut rounds: Vec<Vec<Round>> = farebox.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (contender, rounds) in farebox.iter_mut().zip(&mut rounds) {
                rounds.push(contender.round(STREAMS, rate, ROUND)?);
            }
        }
        print(&farebox, &rounds, rate);
    }
    println!("  Medians of {ROUNDS} alternating rounds; the aim is an added p99 below 5 ms.");
    Ok(())
}

/// The highest rate that all of them keep up with.
fn reached(contenders: &mut [&mut Contender]) -> Result<u64> {
    for rate in RATES {
        let mut all = true;
        for contender in &mut *contenders {
            let round = contender.round(STREAMS, rate, TRIAL)?;
            let share = round.rate() / (streams_f64() * f64::from(u32::try_from(rate)?));
            if share < KEPT_SHARE {
                println!(
                    "  {STREAMS} streams of {rate} chunks/s are too many here: {} delivered {:.0}% of them.",
                    contender.name,
                    share * 100.0
                );
                all = false;
                break;
            }
        }
        if all {
            return Ok(rate);
        }
    }
    Ok(RATES[RATES.len() - 1])
}

fn streams_f64() -> f64 {
    crate::report::real(STREAMS as u64)
}

fn print(contenders: &[&mut Contender], rounds: &[Vec<Round>], rate: u64) {
    println!("\n  {STREAMS} streams of {rate} chunks/s each, from the upstream to the reader:");
    let mut table =
        Table::new(&["", "chunks/s", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms", "chunks/commit"]);
    let yardstick = contenders.iter().position(|c| c.name == BASELINE).unwrap_or(0);
    let middle = |at: usize, of: fn(&Round) -> f64| median(&rounds[at].iter().map(of).collect::<Vec<_>>());
    let p50 = |at| middle(at, |round| round.seen.p50 / 1e3);
    let p99 = |at| middle(at, |round| round.seen.p99 / 1e3);
    for (at, contender) in contenders.iter().enumerate() {
        let mut cells = vec![number(middle(at, Round::rate)), number(p50(at)), number(p99(at))];
        if at != yardstick {
            cells.extend([number(p50(at) - p50(yardstick)), number(p99(at) - p99(yardstick))]);
            cells.push(number(middle(at, Round::rate) / middle(at, |round| round.commits)));
        }
        table.row(contender.name, cells);
    }
    table.print();
}
