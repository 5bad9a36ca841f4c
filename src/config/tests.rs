use std::fmt::Write as _;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::word::{Statement, Word};
use super::yaml::{Node, Value};
use super::{File, Fleet, Machine, Target, haproxy, keepalived, nginx, settings, shell, unit, yaml};
use crate::error::Source;
use crate::host::process;
use crate::judge::judge;
use crate::lint::check_files;

/// Prints one statement per line, with words separated by `|` and bodies indented.
fn shown(statements: &[Statement<'_>], depth: usize, out: &mut String) {
    for statement in statements {
        let words: Vec<&str> = statement.words.iter().map(|word| word.text).collect();
        writeln!(out, "{}{}", "  ".repeat(depth), words.join("|")).unwrap();
        shown(&statement.body, depth + 1, out);
    }
}

fn tree(statements: &[Statement<'_>]) -> String {
    let mut out = String::new();
    shown(statements, 0, &mut out);
    out
}

fn json(node: &Node<'_>) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Scalar => node.word.text.into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key.text.to_owned(), json(value))).collect()
        }
    }
}

#[test]
fn here_documents_are_read_as_files_and_no_deeper_than_people_write_them() {
    let text: String = (0..20).map(|number| format!("cat > /x{number}.sh <<E{number}\n")).collect();
    let source = Source { path: "x.sh".into(), text: text.as_str().into() };
    let file = File { path: "/x.sh".into(), text: source.text.clone(), mode: None, source };
    let machines = [Machine { name: "m1".into(), files: vec![file], images: Vec::new() }];
    let fleet = Fleet::read(&machines, Target { kubernetes: 30, etcd: 5, now: 0 });
    let paths: Vec<&str> = fleet.documents.iter().map(|document| document.path).collect();
    assert_eq!(paths, ["/x.sh", "/x0.sh", "/x1.sh", "/x2.sh", "/x3.sh"]);
}

#[test]
fn keepalived_has_blocks_in_blocks_and_two_kinds_of_comments() {
    let text = "! note\nvrrp_instance VI_1 # here\n{\n  state MASTER\n  virtual_ipaddress { 10.0.0.1/24 dev \
        eth0 }\n  script \"curl -f http://x/\"\n}\nlast ${VIP}";
    insta::assert_snapshot!(tree(&keepalived::read(Word::whole(text))), @r"
    vrrp_instance|VI_1
      state|MASTER
      virtual_ipaddress
        10.0.0.1/24|dev|eth0
      script|curl -f http://x/
    last|${VIP}
    ");
}

#[test]
fn nginx_ends_statements_with_semicolons_wherever_lines_end() {
    let text = "stream {\n upstream api { least_conn; server 10.0.0.11:6443\n max_fails=1; }\n server { \
        listen 6443; }\n} # end";
    insta::assert_snapshot!(tree(&nginx::read(Word::whole(text))), @r"
    stream
      upstream|api
        least_conn
        server|10.0.0.11:6443|max_fails=1
      server
        listen|6443
    ");
}

#[test]
fn haproxy_has_sections_whether_lines_are_indented_or_not() {
    let text = "# head\nglobal\nlog /dev/log local0\nfrontend api\n    bind :8443 # all\nhttp-check send \
        hdr Host 'a b'\n";
    insta::assert_snapshot!(tree(&haproxy::read(Word::whole(text))), @r"
    global
      log|/dev/log|local0
    frontend|api
      bind|:8443
      http-check|send|hdr|Host|a b
    ");
}

#[test]
fn units_continue_lines_through_comments_and_keep_quoted_words_whole() {
    let text = "[Service]\nType = notify\nExecStart=/usr/bin/etcd \\\n  --name=m1 \\\n# a comment between\n \
         \"--x=a b\"\nExecStart=\n[Install]\nWantedBy=a b\n";
    insta::assert_snapshot!(tree(&unit::read(Word::whole(text))), @r"
    Service
      Type|notify
      ExecStart|/usr/bin/etcd|--name=m1|--x=a b
      ExecStart
    Install
      WantedBy|a|b
    ");
}

#[test]
fn settings_may_be_quoted_exported_and_continued() {
    let text =
        "# c\nexport VIP=\"10.0.0.1\"\n[section]\nOPTS=\"--a=1 \\\n  --b=2\"\nnet.ipv4.ip_forward = 1\n";
    let seen: Vec<(&str, &str)> = settings::read(Word::whole(text))
        .iter()
        .map(|setting| (setting.key.text, setting.value.text))
        .collect();
    assert_eq!(seen, [("VIP", "10.0.0.1"), ("OPTS", "--a=1 \\\n  --b=2"), ("net.ipv4.ip_forward", "1")]);
}

#[test]
fn scripts_are_commands_and_the_files_that_they_write() {
    let text = "[root@m1 ~]# cat > /etc/x.conf <<'EOF'\na=$b\nEOF\nif ! curl -f \"http://x/?a b\" \
        2>/dev/null; then # no\n  n=$(systemctl stop x;echo $?) | tee out\nfi\ncat <<E | tee /etc/y\ny\nE\n";
    let script = shell::read(Word::whole(text));
    let commands: Vec<String> = script
        .commands
        .iter()
        .map(|command| command.words.iter().map(|word| word.text).collect::<Vec<_>>().join("|"))
        .collect();
    assert_eq!(
        commands,
        [
            "cat",
            "curl|-f|http://x/?a b",
            "n=",
            "systemctl|stop|x",
            "echo|$?",
            "tee|out",
            "fi",
            "cat",
            "tee|/etc/y"
        ]
    );
    let written: Vec<_> = script
        .documents
        .iter()
        .map(|here| (here.target.map(|word| word.text), here.body.text, here.quoted))
        .collect();
    assert_eq!(written, [(Some("/etc/x.conf"), "a=$b\n", true), (Some("/etc/y"), "y\n", false)]);
}

#[test]
fn yaml_is_read_in_block_and_flow_style() {
    let text = "# head\nkind: Pod\nspec:\n  containers:\n  - image: \"a:1\" # tag\n    command: [a, \
        '--b=c', {d: e}]\n  -   name: x\n      args:\n        - one\n        - \"k: v\"\n  url: \
        https://x:1/#y\n  text: |\n    # kept\n    key: value\n\n  after: ~\nempty:\nanchored: &a !t \
        v\n---\n{\"a\": [1, {\"b\": null}],\n \"c\": \"d, e\"}\n";
    let documents: Vec<serde_json::Value> = yaml::read(Word::whole(text)).iter().map(json).collect();
    let first = serde_json::json!({
        "kind": "Pod",
        "spec": {
            "containers": [
                { "image": "a:1", "command": ["a", "--b=c", { "d": "e" }] },
                { "name": "x", "args": ["one", "k: v"] },
            ],
            "url": "https://x:1/#y",
            "text": "    # kept\n    key: value\n\n",
            "after": "~",
        },
        "empty": null,
        "anchored": "v",
    });
    assert_eq!(documents, [first, serde_json::json!({ "a": ["1", { "b": "null" }], "c": "d, e" })]);
}

/// Prints the documents of every text on standard input as JSON, scalars as text with single spaces; `null`
/// for invalid YAML.
const PYTHON: &str = "import json, sys, yaml
def plain(value):
    if isinstance(value, dict): return {key: \
    plain(item) for key, item in value.items()}
    if isinstance(value, list): return [plain(item) for \
    item in value]
    return ' '.join(value.split())
def documents(text):
    try: return [plain(each) for \
    each in yaml.load_all(text, Loader=yaml.BaseLoader) if isinstance(each, (dict, list))]
    except \
    yaml.YAMLError: return None
json.dump([documents(text) for text in json.load(sys.stdin)], sys.stdout)
";

fn plain(node: &Node<'_>) -> serde_json::Value {
    match &node.value {
        Value::Null | Value::Scalar => node.word.text.split_whitespace().collect::<Vec<_>>().join(" ").into(),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key.text.to_owned(), plain(value))).collect()
        }
    }
}

#[test]
fn python_reads_the_same_from_every_manifest_that_kiln_writes_or_examples_show() {
    let Some(mut python) = judge("python3") else { return };
    let cluster =
        crate::cluster::resolve(&crate::profile::tests::read(crate::profile::tests::SAMPLE)).unwrap();
    let overlays = crate::overlay::Overlays::load(&[]).unwrap();
    let rendered = crate::render::texts(&cluster, &cluster.nodes[0], &overlays)
        .unwrap()
        .into_iter()
        .map(|file| (file.path, file.text));
    let shown = crate::lint::tests::example_files().into_iter().map(|file| (file.path, file.text));
    let manifests = rendered
        .chain(shown)
        .filter(|(path, _)| [".yaml", ".json", ".conf"].iter().any(|end| path.ends_with(end)));
    let texts: Vec<_> = manifests
        .map(|(_, text)| text)
        .filter(|text| text.contains("kind:") || text.starts_with('{'))
        .collect();
    let input = serde_json::to_vec(&texts.iter().map(|text| &**text).collect::<Vec<&str>>()).unwrap();
    let output = process::run_with_input(python.args(["-c", PYTHON]), &input).unwrap();
    let judged: Vec<Option<serde_json::Value>> = serde_json::from_slice(&output.stdout).unwrap();
    for (text, judgement) in texts.iter().zip(&judged) {
        let Some(judgement) = judgement else { continue };
        assert_eq!(
            &yaml::read(Word::whole(text)).iter().map(plain).collect::<serde_json::Value>(),
            judgement,
            "{text}"
        );
    }
    assert!(judged.iter().flatten().count() > 40, "{} of {}", judged.iter().flatten().count(), texts.len());
}

#[test]
fn yaml_that_lost_its_indentation_still_says_what_it_says() {
    let text = "kind: Pod\nspec:\ncontainers:\n- image: a\nname: x\nvolumes:\n- hostPath:\npath: \
        /etc/a\nname: b\n- hostPath:\npath: /etc/c\n";
    let documents = yaml::read(Word::whole(text));
    assert_eq!(documents.len(), 1);
    let paths: Vec<&str> = documents[0].find_all("path").iter().map(|node| node.word.text).collect();
    assert_eq!(paths, ["/etc/a", "/etc/c"]);
}

#[test]
fn a_flag_is_a_flag_wherever_a_component_is_started() {
    let files = [
        (
            "/etc/systemd/system/kubelet.service",
            "[Service]\nExecStart=-/usr/bin/hyperkube kubelet --node_ip=10.0.0.1 --v 2\n",
        ),
        (
            "/etc/kubernetes/manifests/a.yaml",
            "spec:\n  containers:\n  - command: [kube-apiserver]\n    args: [--secure-port=6443]\n",
        ),
        ("/opt/cfg/kube-scheduler.conf", "KUBE_SCHEDULER_OPTS=\"--leader-elect \\\n--v=2\"\n"),
        ("/etc/etcd/etcd.conf", "ETCD_NAME=\"m1\"\n"),
        ("/root/kubeadm.yaml", "apiServer:\n  extraArgs:\n  - name: profiling\n    value: \"false\"\n"),
        ("/root/x.sh", "kubeadm init --upload-certs\nvim kube-proxy --v=2\n"),
    ];
    let file = |(path, text): (&str, &str)| {
        let source = Source { path: path.into(), text: text.into() };
        File { path: path.to_owned(), text: text.into(), mode: None, source }
    };
    let machines = [Machine { name: "m1".to_owned(), files: files.map(file).to_vec(), images: Vec::new() }];
    let fleet = Fleet::read(&machines, Target { kubernetes: 20, etcd: 5, now: 0 });
    let mut seen: Vec<String> = Vec::new();
    for invocation in &fleet.invocations {
        let flags: Vec<String> =
            invocation.flags.iter().map(|flag| format!("{}={}", flag.name, flag.value.text)).collect();
        seen.push(format!("{} {}", invocation.program, flags.join(" ")));
    }
    assert_eq!(
        seen,
        [
            "kubelet node-ip=10.0.0.1 v=2",
            "kube-apiserver secure-port=6443",
            "kube-scheduler leader-elect= v=2",
            "etcd name=m1",
            "kube-apiserver profiling=false",
            "kubeadm upload-certs=",
        ]
    );
}

/// Runs every lint over a text in each format, and checks that every finding is within the text.
fn assert_places_are_in(text: &str) {
    const PATHS: [&str; 10] = [
        "/etc/keepalived/keepalived.conf",
        "/etc/haproxy/haproxy.cfg",
        "/etc/nginx/nginx.conf",
        "/etc/systemd/system/kubelet.service",
        "/etc/kubernetes/kubelet.yaml",
        "/etc/keepalived/check.sh",
        "/etc/sysctl.d/a.conf",
        "/etc/hosts",
        "/etc/default/kubelet",
        "/etc/x",
    ];
    let file = |path: &str| {
        let source = Source { path: path.into(), text: text.into() };
        File { path: path.to_owned(), text: text.into(), mode: None, source }
    };
    let machines = [Machine {
        name: "m1".to_owned(),
        files: PATHS.iter().map(|path| file(path)).collect(),
        images: Vec::new(),
    }];
    for problem in check_files(&machines, Target { kubernetes: 20, etcd: 5, now: 0 }) {
        let span = problem.span.unwrap();
        assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}: {}", problem.message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_text_makes_a_reader_fail(text in any::<String>()) {
        assert_places_are_in(&text);
    }

    #[test]
    fn no_text_of_brackets_and_quotes_makes_a_reader_fail(text in "[a-z0-9 \n\t:;={}\\[\\]\"'\\\\#$|>&*!<()/.,-]{0,120}") {
        assert_places_are_in(&text);
    }

    #[test]
    fn no_damaged_file_makes_a_reader_fail(cuts in prop::collection::vec((any::<prop::sample::Index>(), "\\PC{0,3}"), 1..4)) {
        let mut text = include_str!("../lint/tests/published/4.txt").to_owned();
        for (at, insert) in cuts {
            let at = (at.index(text.len())..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap();
            text.insert_str(at, &insert);
            text.truncate(text.floor_char_boundary(at + insert.len() + 400));
        }
        assert_places_are_in(&text);
    }
}

#[test]
fn deep_brackets_end_without_a_crash() {
    for text in ["[".repeat(50_000), "{a: ".repeat(20_000), "- ".repeat(20_000), "{\n".repeat(20_000)] {
        assert_places_are_in(&text);
    }
}
