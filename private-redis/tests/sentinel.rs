//! Failover, by one sentinel and by a majority of three.

use private_redis::{Error, Sentinel, Server};

/// Sentinel closes connections when it makes a server a replica.
fn wait_for(replica: &Server, value: &str) {
    while !replica.cli(&["GET", "name"]).is_ok_and(|found| found == value) {}
}

fn fails_over(count: usize) -> Result<(), Error> {
    let sentinel = Sentinel::start(count)?;
    assert_eq!(sentinel.addresses().len(), count);
    let (old, new) = (sentinel.master().port(), sentinel.replica().port());
    sentinel.master().cli(&["SET", "name", "value"])?;
    wait_for(sentinel.replica(), "value");
    sentinel.fail_over()?;
    assert_eq!((sentinel.master().port(), sentinel.replica().port()), (new, old));
    assert_eq!(sentinel.master().cli(&["GET", "name"])?, "value");
    sentinel.master().cli(&["SET", "name", "after"])?;

    // The old master comes back as a replica, and can be made the master again.
    sentinel.replica().start_again()?;
    wait_for(sentinel.replica(), "after");
    sentinel.fail_over()?;
    assert_eq!(sentinel.master().port(), old);
    assert_eq!(sentinel.master().cli(&["GET", "name"])?, "after");
    Ok(())
}

#[test]
fn one_sentinel_makes_the_replica_the_master_when_the_master_is_killed() {
    fails_over(1).unwrap();
}

#[test]
fn three_sentinels_make_the_replica_the_master_when_the_master_is_killed() {
    fails_over(3).unwrap();
}
