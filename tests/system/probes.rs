//! Probes come with the first program that needs them and leave with the last, once for each file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use remora_tests::certificates::Certificates;
use remora_tests::remora::Remora;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{TlsService, go_binary};
use remora_tests::{tools, wait};

/// How long it may take until probes have left, or a large executable is searched, on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// What a container sees of its image: the image's files below, and a folder of its own above.
struct Overlay(PathBuf);

impl Overlay {
    fn mount(scratch: &Scratch, image: &Path, name: &str) -> Self {
        let folder = |part: &str| {
            let folder = scratch.path().join(format!("{name}-{part}"));
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (upper, work, root) = (folder("upper"), folder("work"), folder("root"));
        let (image, upper, work) = (image.display(), upper.display(), work.display());
        let options = format!("lowerdir={image},upperdir={upper},workdir={work}");
        tools::printed(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&root))
            .unwrap();
        Self(root)
    }

    /// Unmounts it, which the system refuses while anybody uses a file of it. The kernel lets go of a probed file a moment
    /// after its last probe.
    fn unmount(self) {
        let unmount = || Ok(tools::printed(Command::new("umount").arg(&self.0)).ok());
        wait::until("nobody uses the image", WITHIN, unmount).unwrap();
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Only after a failure it is still mounted.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

fn probes(remora: &Remora) -> u64 {
    let metrics = remora.metrics().unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("remora_agent_probes ")).unwrap();
    line.parse().unwrap()
}

#[test]
#[ignore = "needs root"]
fn containers_of_one_image_share_probes_which_leave_with_the_last_of_them() {
    let certificates = Certificates::make().unwrap();
    let scratch = Scratch::new("probes").unwrap();
    let image = scratch.path().join("image");
    fs::create_dir(&image).unwrap();
    fs::copy(go_binary().unwrap(), image.join("service")).unwrap();
    let overlays = ["a", "b"].map(|name| Overlay::mount(&scratch, &image, name));
    // Others on this host come and go.
    let selection = format!("exe={}/*", scratch.path().display());
    let mut remora = Remora::with_flags(&["--select", &selection]).unwrap();
    let before = probes(&remora);

    let start = |overlay: &Overlay| TlsService::start_go(&overlay.0.join("service"), &certificates).unwrap();
    let first = start(&overlays[0]);
    let with_first =
        wait::until("it is probed", WITHIN, || Ok(Some(probes(&remora)).filter(|now| *now > before)))
            .unwrap();
    let second = start(&overlays[1]);
    let authority = certificates.authority().display().to_string();
    for service in [&first, &second] {
        wait::until("a request of it is seen", WITHIN, || {
            tools::curl(&["--cacert", &authority, &format!("{}/users/1", service.url())])?;
            let spans = remora.bridge().spans_of_server(service.address())?;
            Ok(spans.iter().any(|span| span.kind == "server").then_some(()))
        })
        .unwrap();
    }
    assert_eq!(probes(&remora), with_first);
    for service in [&first, &second] {
        tools::curl(&["--cacert", &authority, &format!("{}/users/4711", service.url())]).unwrap();
    }
    let addresses = [first.address(), second.address()];

    drop((first, second));
    wait::until("its probes leave", WITHIN, || Ok((probes(&remora) == before).then_some(()))).unwrap();
    overlays.into_iter().for_each(Overlay::unmount);

    let bridge = remora.finish().unwrap();
    for address in addresses {
        let spans = bridge.spans_of_server(address).unwrap();
        let is_asked = |span: &&_| remora_tests::span::Span::text(span, "url.path") == Some("/users/4711");
        let servers = spans.iter().filter(|span| span.kind == "server").filter(is_asked).count();
        assert_eq!(servers, 1, "{spans:?}");
    }
}
