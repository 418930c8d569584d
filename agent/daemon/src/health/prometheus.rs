//! Samples in the Prometheus text format, version 0.0.4.

use std::fmt::Write as _;

use super::help;
use super::ledger::{Kind, Sample};

/// Returns the exposition of `samples`, which must be sorted by name.
pub(super) fn text(samples: &[Sample]) -> String {
    let mut text = String::new();
    let mut previous = "";
    for sample in samples {
        if sample.name != previous {
            let kind = match sample.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            if let Some(help) = help::of(&sample.name) {
                let _ = writeln!(text, "# HELP {} {help}", sample.name);
            }
            let _ = writeln!(text, "# TYPE {} {kind}", sample.name);
            previous = &sample.name;
        }
        text.push_str(&sample.name);
        write_labels(&mut text, sample);
        let _ = writeln!(text, " {}", sample.value);
    }
    text
}

fn write_labels(text: &mut String, sample: &Sample) {
    let mut separator = '{';
    for (name, value) in &sample.labels {
        text.push(separator);
        separator = ',';
        let _ = write!(text, "{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    if separator == ',' {
        text.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_announced_once_and_labels_escaped() {
        let samples = [
            Sample::counter("a_total", vec![("path", "C:\\\"x\"\n".into())], 3),
            Sample::counter("a_total", Vec::new(), 4),
            Sample::gauge("remora_agent_probes", Vec::new(), 0.5),
        ];
        let expected = "# TYPE a_total counter\na_total{path=\"C:\\\\\\\"x\\\"\\n\"} 3\na_total 4\n\
                        # HELP remora_agent_probes Places that are probed.\n\
                        # TYPE remora_agent_probes gauge\nremora_agent_probes 0.5\n";
        assert_eq!(text(&samples), expected);
    }
}
