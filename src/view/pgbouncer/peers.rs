//! SHOW PEERS: the processes that forward cancel requests to each other (PgBouncer 1.19 and later).

use super::table::{Table, count};

/// The commands whose answers name all processes: the peers, and the one that is asked.
pub const PEERS: [&str; 2] = ["SHOW PEERS", "SHOW CONFIG"];

/// A process of PgBouncer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its `peer_id`.
    pub id: u64,
    /// Its host, or the folder of its Unix socket.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
}

/// The processes in the answers to [`PEERS`], by their number. The process that was asked need not be in its own
/// section `[peers]`.
pub fn peers(answers: &[Table]) -> Vec<Peer> {
    let [peers, config] = answers else { return Vec::new() };
    let mut found: Vec<Peer> = peers
        .rows()
        .filter_map(|row| {
            let port = row.count("port").and_then(|port| u16::try_from(port).ok());
            // Early documentation calls the first column `database`.
            let id = row.count("peer_id").or_else(|| row.count("database"))?;
            Some(Peer { id, host: row.text("host")?.to_owned(), port })
        })
        .collect();
    let values = config.pairs("key", "value");
    let own = values.get("peer_id").and_then(|id| count(id)).filter(|id| *id > 0);
    let folder = values.get("unix_socket_dir").filter(|folder| !folder.is_empty());
    if let (Some(id), Some(folder), false) = (own, folder, found.is_empty())
        && found.iter().all(|peer| peer.id != id)
    {
        let port = values.get("listen_port").and_then(|port| port.trim().parse().ok());
        found.push(Peer { id, host: (*folder).to_owned(), port });
    }
    found.sort_by_key(|peer| peer.id);
    found.dedup_by_key(|peer| peer.id);
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::table;
    use super::*;

    #[test]
    fn the_process_that_answers_is_one_of_them() {
        let shown =
            table("peer_id host port pool_size", &["2 /run/b2 6432 10", "1 /run/b1 6432 10"]);
        let config = |rows: &[&str]| table("key value", rows);
        let ids = |answers: &[Table]| -> Vec<u64> { peers(answers).iter().map(|p| p.id).collect() };
        let listed = config(&["peer_id 1", "unix_socket_dir /run/b1", "listen_port 6432"]);
        assert_eq!(ids(&[shown.clone(), listed]), [1, 2]);
        let unlisted = config(&["peer_id 3", "unix_socket_dir /run/b3", "listen_port 6432"]);
        let found = peers(&[shown, unlisted]);
        let third = Peer { id: 3, host: "/run/b3".to_owned(), port: Some(6432) };
        assert_eq!(found.get(2), Some(&third));
        let alone = table("peer_id host port pool_size", &[]);
        assert_eq!(ids(&[alone, config(&["peer_id 0", "unix_socket_dir /tmp"])]), [0; 0]);
    }
}
