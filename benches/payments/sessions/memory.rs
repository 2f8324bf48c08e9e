//! Memory of an open stream while nothing happens on it.

use std::time::Duration;

use anyhow::Result;

use super::contender::Contender;
use crate::report::{Table, number, real};

const STREAMS: usize = 1000;

pub fn measure(contenders: &mut [Contender]) -> Result<()> {
    let mut table = Table::new(&["", "none MB", "open MB", "kB/stream"]);
    for contender in contenders {
        let none = contender.server.resident()?;
        let open = contender.idle(STREAMS, Duration::from_secs(1))?;
        let each = (open - none) * 1e3 / real(STREAMS as u64);
        table.row(contender.name, [number(none), number(open), number(each)]);
    }
    table.print();
    println!("  Of servers that have just started; the aim is 32 kB a stream.");
    Ok(())
}
