//! The programs' own parsers read the arguments and files that the manifests give them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use remora::config as agent;
use remora_bridge::config as bridge;
use remora_tests::scratch::Scratch;
use serde_json::Value;

use super::rendered::Rendered;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const TOKEN_PATH: &str = "/etc/remora-token/token";

/// Returns the arguments of a pod's only container, with the configuration file replaced by one of the test's.
fn arguments(program: &str, pod: &Value, mounted: &str, config: &str) -> Result<Vec<String>> {
    let given = pod["containers"][0]["args"].as_array().context("no arguments")?;
    let given = given.iter().filter_map(Value::as_str);
    let arguments: Vec<_> =
        given.map(|one| if one == mounted { config.to_owned() } else { one.to_owned() }).collect();
    assert!(arguments.iter().any(|one| one == config), "{mounted} is not read: {arguments:?}");
    Ok([vec![program.to_owned()], arguments].concat())
}

/// Writes a configuration whose token stands elsewhere than in a pod, and returns its path.
fn write_config(scratch: &Scratch, text: &str) -> Result<String> {
    assert!(text.contains(TOKEN_PATH), "no token is asked for: {text}");
    let token = scratch.write("token", TOKEN)?;
    let text = text.replace(TOKEN_PATH, token.to_str().context("the path is not UTF-8")?);
    Ok(scratch.write("config.toml", text)?.to_str().context("the path is not UTF-8")?.to_owned())
}

/// Returns the value that a variable has in a pod's only container, with others' values in it.
fn variable(pod: &Value, name: &str) -> Option<String> {
    let variables = pod["containers"][0]["env"].as_array()?;
    let value = variables.iter().find(|variable| variable["name"] == name)?["value"].as_str()?;
    Some(value.replace("$(REMORA_TOKEN)", TOKEN))
}

fn ports(list: &Value, key: &str) -> BTreeSet<u64> {
    list.as_array().into_iter().flatten().filter_map(|port| port[key].as_u64()).collect()
}

fn agent_settings(rendered: &Rendered) -> Result<agent::Settings> {
    let pod = rendered.pod("DaemonSet", "remora-agent")?;
    let scratch = Scratch::new("manifests")?;
    let config = write_config(&scratch, rendered.config(pod, "agent.toml")?)?;
    let line =
        agent::CommandLine::try_parse_from(arguments("remora", pod, "/etc/remora/agent.toml", &config)?)?;
    let agent::Command::Run(run) = line.command else { anyhow::bail!("not remora run") };
    let file = agent::File::load(run.config.as_deref().context("no configuration file")?)?;
    let look_up = |name: &str| variable(pod, name);
    Ok(agent::Settings::for_run(&run, &agent::Environment::from_fn(&look_up), &file)?)
}

#[test]
#[ignore = "needs `cargo xtask test`, which installs kubectl and the schemas"]
fn the_agent_sends_to_the_bridge_with_the_token() {
    for overlay in ["base", "overlays/single-node", "overlays/production", "overlays/openshift"] {
        let rendered = Rendered::of(overlay).unwrap();
        let export = agent_settings(&rendered).unwrap().export.unwrap();
        assert_eq!(export.headers, [("authorization".to_owned(), format!("Bearer {TOKEN}"))]);
        let service = rendered.object("Service", export.endpoint.host()).unwrap();
        assert!(
            ports(&service["spec"]["ports"], "port").contains(&export.endpoint.port().into()),
            "{overlay}"
        );
    }
    let other = agent_settings(&Rendered::of("overlays/otlp").unwrap()).unwrap().export.unwrap();
    assert_eq!(other.endpoint.host(), "otlp.example.com");
    assert!(other.headers.is_empty(), "they come from a Secret");
}

#[test]
#[ignore = "needs `cargo xtask test`, which installs kubectl and the schemas"]
fn probes_ask_where_the_programs_listen() {
    let rendered = Rendered::of("base").unwrap();
    let metrics = agent_settings(&rendered).unwrap().metrics.unwrap();
    assert_eq!(metrics.token.as_deref(), Some(TOKEN));
    let pod = rendered.pod("DaemonSet", "remora-agent").unwrap();
    let container = &pod["containers"][0];
    assert_eq!(ports(&container["ports"], "containerPort"), [metrics.address.port().into()].into());
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{probe}");
    }
}

#[test]
#[ignore = "needs `cargo xtask test`, which installs kubectl and the schemas"]
fn the_bridge_listens_with_a_token_where_its_service_leads() {
    for overlay in ["base", "overlays/single-node", "overlays/production", "overlays/openshift"] {
        let rendered = Rendered::of(overlay).unwrap();
        let pod = rendered.pod("StatefulSet", "remora-bridge").unwrap();
        let scratch = Scratch::new("manifests").unwrap();
        let config = write_config(&scratch, rendered.config(pod, "bridge.toml").unwrap()).unwrap();
        let line = arguments("remora-bridge", pod, "/etc/remora/bridge.toml", &config).unwrap();
        let bridge::Command::Serve(serve) = bridge::Flags::try_parse_from(line).unwrap().command;
        let settings = bridge::Settings::load(serve).unwrap();
        assert_eq!(settings.token.as_deref(), Some(TOKEN));
        let listens = [settings.listen, settings.otlp_grpc, settings.otlp_http];
        assert!(listens.iter().all(|address| address.ip().is_unspecified()), "{overlay}: {listens:?}");
        let listens: BTreeSet<u64> = listens.iter().map(|address| address.port().into()).collect();
        assert_eq!(ports(&pod["containers"][0]["ports"], "containerPort"), listens, "{overlay}");
        let service = rendered.object("Service", "remora-bridge").unwrap();
        assert_eq!(ports(&service["spec"]["ports"], "port"), listens, "{overlay}");
        fits_the_volume(&rendered, pod, &settings.store).unwrap();
    }
}

/// Checks that what is kept has room on the volume, with some to spare for the log and for compaction.
fn fits_the_volume(
    rendered: &Rendered,
    pod: &Value,
    store: &remora_bridge::store::StoreSettings,
) -> Result<()> {
    let claim = &rendered.object("StatefulSet", "remora-bridge")?["spec"]["volumeClaimTemplates"][0];
    let size = claim["spec"]["resources"]["requests"]["storage"].as_str().context("no size")?;
    let gibibytes: u64 = size.strip_suffix("Gi").context("not in Gi")?.parse()?;
    assert!(store.retention_bytes * 5 / 4 <= gibibytes << 30, "{size} for {} bytes", store.retention_bytes);
    let data = store.data_dir.to_str();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().context("no mounts")?;
    let is_data = |mount: &&Value| mount["name"] == claim["metadata"]["name"];
    assert_eq!(mounts.iter().find(is_data).context("the volume is not mounted")?["mountPath"].as_str(), data);
    Ok(())
}
