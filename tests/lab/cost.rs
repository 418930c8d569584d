//! What the agent costs each framework, and which of its programs the cost is of: `cargo xtask bench mechanisms`.
//!
//! Figures go to standard output, one JSON object a line; what is being done goes to standard error.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use remora_tests::figure;
use remora_tests::running::Running;

use crate::agent::Agent;
use crate::framework::{self, Framework, Mode};
use crate::interrupt;
use crate::load;
use crate::measure::Bench;
use crate::site::Site;

const IN_FLIGHT: usize = 16;
/// What the agent concludes from ids, as usual.
const CONTENT: &str = "links";
/// Requests before anything is measured: pools are filled, code is compiled.
const WARM_UP: u64 = 300;
/// Seconds that a round is meant to take.
const SECONDS: f64 = 3.0;
/// Programs that ran less often than this many times a request are not told.
const LEAST_EVENTS: f64 = 0.01;

/// Run time in nanoseconds and number of runs of each program.
type Runs = BTreeMap<String, (u64, u64)>;

impl Bench<'_> {
    /// Measures one framework without and with the agent, in turns.
    pub(crate) fn cost(&mut self, framework: &Framework, rounds: usize) -> Result<()> {
        let site = Site::new(self.servers, framework)?;
        let processes = self.start(framework, &site)?;
        let mode = if framework.modes.contains(&Mode::Await) { Mode::Await } else { Mode::Proxy };
        let warm = self.rate(&site, mode, WARM_UP)?;
        let requests = ((warm * SECONDS) as u64).max(WARM_UP);
        let (mut without, mut with, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            eprintln!("{:>18}  round {} of {rounds}, {requests} requests each", framework.name, round + 1);
            let (bare, seen) = if round % 2 == 0 {
                let bare = self.rate(&site, mode, requests)?;
                (bare, self.observed(framework, &processes, &site, mode, requests)?)
            } else {
                let seen = self.observed(framework, &processes, &site, mode, requests)?;
                (self.rate(&site, mode, requests)?, seen)
            };
            without.push(bare);
            with.push(seen);
            lost.push(100.0 * (1.0 - seen / bare));
        }
        let name = framework.name;
        figure::print(format!("{name}: requests/s without agent"), "1/s", &without);
        figure::print(format!("{name}: requests/s with agent"), "1/s", &with);
        figure::print(format!("{name}: throughput lost"), "%", &lost);
        self.programs(framework, &processes, &site, mode, requests)?;
        drop(processes);
        Ok(())
    }

    /// Returns the requests a second that are answered beside the agent.
    fn observed(
        &mut self,
        framework: &Framework,
        processes: &[Running],
        site: &Site,
        mode: Mode,
        requests: u64,
    ) -> Result<f64> {
        let agent = self.agent_of(framework, processes)?;
        self.rate(site, mode, WARM_UP)?;
        let rate = self.rate(site, mode, requests)?;
        agent.finish()?;
        Ok(rate)
    }

    /// Starts an agent, and waits until it has put its parts in where it is to.
    fn agent_of(&self, framework: &Framework, processes: &[Running]) -> Result<Agent> {
        let platform = framework::platform(framework.name);
        let agent = Agent::start_attaching(self.agent, self.sink, CONTENT, platform)?;
        if platform.is_some() {
            agent.wait_attached(processes)?;
        }
        Ok(agent)
    }

    fn rate(&mut self, site: &Site, mode: Mode, requests: u64) -> Result<f64> {
        interrupt::check()?;
        let numbers = self.next_number..self.next_number + requests;
        self.next_number = numbers.end;
        let begin = Instant::now();
        let failures =
            load::http(site.target(), numbers, IN_FLIGHT, 1, |number| format!("/{}/{number}", mode.route()))?;
        ensure!(failures.count == 0, "{} requests failed: {:?}", failures.count, failures.first);
        Ok(requests as f64 / begin.elapsed().as_secs_f64())
    }

    /// Tells each program's time, as the kernel counts it. Counting costs time itself, so that rates are not measured
    /// meanwhile.
    fn programs(
        &mut self,
        framework: &Framework,
        processes: &[Running],
        site: &Site,
        mode: Mode,
        requests: u64,
    ) -> Result<()> {
        let _counting = enable_stats(Stats::RunTime).context("let the kernel count the programs' time")?;
        let agent = self.agent_of(framework, processes)?;
        self.rate(site, mode, WARM_UP)?;
        let before = runs();
        self.rate(site, mode, requests)?;
        let after = runs();
        agent.finish()?;
        for (program, (time, count)) in after {
            let (time_before, count_before) = before.get(&program).copied().unwrap_or_default();
            let time = time.saturating_sub(time_before) as f64;
            let count = count.saturating_sub(count_before) as f64;
            let events = count / requests as f64;
            if events >= LEAST_EVENTS {
                let name = framework.name;
                figure::print(format!("{name}: {program}, each run"), "ns", &[time / count]);
                figure::print(format!("{name}: {program}, runs a request, of the whole host"), "", &[events]);
            }
        }
        Ok(())
    }
}

/// Another agent on this host would be counted too: its programs have the same names.
fn runs() -> Runs {
    let mut runs = Runs::new();
    for program in loaded_programs().filter_map(Result::ok) {
        let (time, count) = runs.entry(String::from_utf8_lossy(program.name()).into_owned()).or_default();
        *time += u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
        *count += program.run_count();
    }
    runs
}
