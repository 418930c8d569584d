//! CPU and memory of the agent while a service answers requests at a steady rate.

use std::time::{Duration, Instant};

use anyhow::Result;
use remora_tests::remora::Agent;
use remora_tests::servers::GoService;
use remora_tests::sink::Sink;

use crate::paced;
use remora_tests::{figure, process};

const RATES: [u32; 2] = [5_000, 10_000];
/// Long enough for buffers and caches to reach their size.
const WARM_UP: Duration = Duration::from_secs(3);
const LASTING: Duration = Duration::from_secs(10);

pub(crate) fn run(rounds: usize) -> Result<()> {
    let service = GoService::start(&[])?;
    let sink = Sink::start()?;
    for rate in RATES {
        let (mut cores, mut resident, mut reached, mut bytes) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            eprintln!("agent: {rate} requests/s, round {} of {rounds}", round + 1);
            let agent = Agent::exporting_to(sink.address(), &[])?;
            paced::run(service.address(), "/plain", rate, WARM_UP)?;
            let (cpu, begin, received) = (process::cpu_seconds(agent.id())?, Instant::now(), sink.bytes());
            let answered = paced::run(service.address(), "/plain", rate, LASTING)?;
            let seconds = begin.elapsed().as_secs_f64();
            cores.push((process::cpu_seconds(agent.id())? - cpu) / seconds);
            resident.push(process::resident_mib(agent.id())?);
            reached.push(answered as f64 / seconds);
            bytes.push((sink.bytes() - received) as f64 / answered as f64);
        }
        figure::print(format!("requests/s reached of {rate}"), "1/s", &reached);
        figure::print(format!("agent CPU at {rate} requests/s"), "core", &cores);
        figure::print(format!("agent memory (RSS) at {rate} requests/s"), "MiB", &resident);
        figure::print(format!("OTLP bytes on the wire for each of {rate} requests/s"), "B", &bytes);
    }
    Ok(())
}
