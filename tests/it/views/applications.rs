//! The inferred pools of applications, compared with SQLAlchemy's own pool after each step.

use std::time::Duration;

use db_pool_exporter::view::application::{
    ApplicationSettings, NameMatch, ProcessPool, SessionMatch,
};
use db_pool_exporter::view::{self, Pattern, Usage};

use super::builder;
use crate::support::application::{Application, Status};
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::wait_for;
use crate::support::watch::{Lines, Privilege, Watch, monitor, settings};

on_versions! {
    one_process_is_followed_step_by_step,
    two_processes_with_names_of_their_own_are_counted,
    two_processes_under_one_name_share_the_limits,
    by_default_the_own_role_is_the_application,
}

/// The application of these tests, with the limits of its SQLAlchemy pool.
fn application(pattern: &str, instances: Option<u32>) -> view::ViewSettings {
    let sessions = SessionMatch {
        application_name: Some(Pattern::new(pattern)),
        user: NameMatch::Like(Pattern::new(ROLE.0)),
        database: NameMatch::SameAsExporter,
    };
    let orders = ApplicationSettings {
        name: Some("orders".to_owned()),
        sessions,
        pool: ProcessPool::Sqlalchemy { size: 5, max_overflow: Some(3) },
        instances,
    };
    let leak_threshold = Duration::from_millis(200);
    view::ViewSettings {
        applications: vec![orders],
        leak_threshold,
        ..view::ViewSettings::default()
    }
}

fn start(version: Option<u32>) -> Cluster {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role(ROLE.0, ROLE.1);
    cluster
}

/// The expected relation between the inferred numbers and SQLAlchemy's.
#[derive(Clone, Copy)]
enum Truth {
    /// Connections checked out and overflow are equal.
    Exact,
    /// Overflow is equal; SQLAlchemy has at least the inferred number of connections checked out.
    AtLeast,
}

/// One application process, with the target that watches it.
struct Followed {
    cluster: Cluster,
    app: Application,
    watch: Watch,
}

impl Followed {
    async fn step(&mut self, command: &str, truth: Truth) -> Usage {
        let pool = self.app.tell(command);
        let usage = self.watch.good().await.views.usage(None).expect("the sessions can be seen");
        eprintln!("{command:10} SQLAlchemy {pool:?}, inferred {usage:?}");
        let overflow = u64::try_from(pool.overflow).unwrap_or(0);
        assert_eq!(usage.overflow, overflow, "{command}");
        assert_eq!(usage.open, pool.checkedin + pool.checkedout, "{command}");
        match truth {
            Truth::Exact => assert_eq!(usage.active, pool.checkedout, "{command}"),
            Truth::AtLeast => assert!(usage.active <= pool.checkedout, "{command}"),
        }
        usage
    }

    /// Ends the running statements, as an operator would.
    fn cancel(&self) {
        let sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'";
        self.cluster.psql(sql);
    }
}

async fn one_process_is_followed_step_by_step(version: Option<u32>) {
    let cluster = start(version);
    let app = Application::start(&cluster, ROLE, "orders-web");
    let watch = Watch::new(settings(&cluster, application("orders-*", Some(1))));
    let mut it = Followed { cluster, app, watch };
    // No connection is open yet, so the application is unknown.
    assert_eq!(it.app.tell("status"), Status { checkedin: 0, checkedout: 0, overflow: -5 });
    assert_eq!(it.watch.good().await.views.usage(None), None);
    it.step("warm 8", Truth::Exact).await;
    it.step("busy 3", Truth::Exact).await;
    it.step("busy 5", Truth::Exact).await;
    let full = it.step("wait 2", Truth::Exact).await;
    assert_eq!((full.saturation_ratio(), full.utilization_percent()), (Some(1.0), Some(160.0)));
    it.cancel();
    // The two waiting tasks have a connection each now, and have sent nothing.
    it.step("settle", Truth::AtLeast).await;
    it.step("return 2", Truth::Exact).await;
    let held = it.step("hold 3", Truth::Exact).await;
    assert_eq!(held.active, 3);
    it.step("bare 2", Truth::AtLeast).await;
    leaks_are_told(&it).await;
    it.step("return 5", Truth::Exact).await;
    // The server has killed the sessions; the application has not noticed yet.
    it.cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    wait_for("the sessions to go", Duration::from_secs(5), || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        (it.cluster.psql(sql) == "0").then_some(())
    });
    let usage = it.watch.good().await.views.usage(None).expect("it was there");
    assert_eq!((usage.open, usage.active, usage.overflow), (0, 0, 0));
    assert_eq!(it.app.tell("status").checkedin, 5);
}

async fn leaks_are_told(it: &Followed) {
    tokio::time::sleep(Duration::from_millis(300)).await;
    let lines = it.watch.lines().await;
    let labels = "database=\"postgres\",user=\"app\",application=\"orders\",source=\"activity\"";
    assert_eq!(lines.value(&format!("app_leaked_connections{{{labels}}}")), 3.0);
    assert_eq!(lines.value(&format!("app_utilization_percent{{{labels}}}")), 60.0);
}

fn app_sample(lines: &Lines, name: &str, application: &str) -> Option<f64> {
    let labels = format!(
        "database=\"postgres\",user=\"app\",application=\"{application}\",source=\"activity\""
    );
    lines.get(&format!("app_{name}{{{labels}}}"))
}

async fn two_processes_with_names_of_their_own_are_counted(version: Option<u32>) {
    let cluster = start(version);
    let watch = Watch::new(settings(&cluster, application("orders-*", None)));
    let mut one = Application::start(&cluster, ROLE, "orders-web-17");
    let mut two = Application::start(&cluster, ROLE, "orders-web-18");
    one.tell("busy 7");
    let pool = [one.tell("status"), two.tell("busy 2")];
    let lines = watch.lines().await;
    let sample = |name| app_sample(&lines, name, "orders");
    let out: u64 = pool.iter().map(|status| status.checkedout).sum();
    let overflow: i64 = pool.iter().map(|status| status.overflow.max(0)).sum();
    assert_eq!(sample("active_connections"), Some(out as f64));
    assert_eq!(sample("overflow_connections"), Some(overflow as f64));
    assert_eq!((sample("instances"), sample("max_connections")), (Some(2.0), Some(16.0)));
    assert_eq!(sample("saturation_ratio"), Some(7.0 / 8.0), "the fullest");
    assert_eq!(sample("mean_saturation_ratio"), Some(9.0 / 16.0));
}

async fn two_processes_under_one_name_share_the_limits(version: Option<u32>) {
    let cluster = start(version);
    let mut one = Application::start(&cluster, ROLE, "orders");
    let mut two = Application::start(&cluster, ROLE, "orders");
    one.tell("busy 7");
    two.tell("hold 2");
    // One process is configured, but there are two: more connections are open than one can have.
    let wrong = Watch::new(settings(&cluster, application("orders", Some(1)))).lines().await;
    assert_eq!(app_sample(&wrong, "open_connections", "orders"), Some(9.0));
    assert_eq!(app_sample(&wrong, "limits_exceeded", "orders"), Some(1.0));
    assert_eq!(app_sample(&wrong, "max_connections", "orders"), Some(8.0));
    assert_eq!(app_sample(&wrong, "saturation_ratio", "orders"), Some(9.0 / 16.0));
    let right = Watch::new(settings(&cluster, application("orders", Some(2)))).lines().await;
    let sample = |name| app_sample(&right, name, "orders");
    assert_eq!((sample("active_connections"), sample("size")), (Some(9.0), Some(10.0)));
    // One of the processes is really 2 above its size; the inferred overflow is a lower bound.
    assert_eq!((sample("overflow_connections"), sample("instances")), (Some(0.0), Some(2.0)));
}

async fn by_default_the_own_role_is_the_application(version: Option<u32>) {
    let cluster = start(version);
    cluster.psql("ALTER ROLE app CONNECTION LIMIT 10");
    let mut settings = settings(&cluster, view::ViewSettings::default());
    settings.connect = crate::support::pools::connect(cluster.port());
    let watch = Watch::new(settings);
    assert_eq!(watch.good().await.views.usage(None), None, "our own sessions are not its");
    let mut app = Application::start(&cluster, ROLE, "");
    app.tell("hold 2");
    cluster.role("other", "secret");
    let _other = cluster.client("other", "secret").await.expect("it gets in");
    let lines = watch.lines().await;
    assert_eq!(app_sample(&lines, "active_connections", "app"), Some(2.0));
    assert_eq!(app_sample(&lines, "max_connections", "app"), Some(30.0));
    let other = "database=\"postgres\",user=\"other\",application=\"\",source=\"activity\"";
    assert_eq!(lines.value(&format!("app_open_connections{{{other}}}")), 1.0);
    assert_eq!(lines.get(&format!("app_active_connections{{{other}}}")), None, "no privilege");
    assert_eq!(lines.get(&format!("app_max_connections{{{other}}}")), None);
}
