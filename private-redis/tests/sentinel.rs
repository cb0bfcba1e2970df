//! Failover, by one sentinel and by a majority of three.

use private_redis::Sentinel;

fn fails_over(count: usize) {
    let sentinel = Sentinel::start(count).unwrap();
    assert_eq!(sentinel.addresses().len(), count);
    let (old, new) = (sentinel.master().port(), sentinel.replica().port());
    sentinel.master().cli(&["SET", "name", "value"]).unwrap();
    sentinel.master().cli(&["WAIT", "1", "0"]).unwrap();
    sentinel.fail_over().unwrap();
    assert_eq!((sentinel.master().port(), sentinel.replica().port()), (new, old));
    assert_eq!(sentinel.master().cli(&["GET", "name"]).unwrap(), "value");
    sentinel.master().cli(&["SET", "name", "after"]).unwrap();

    // The old master comes back as a replica, and can be made the master again.
    sentinel.replica().start_again().unwrap();
    while !sentinel.replica().cli(&["ROLE"]).unwrap().starts_with("slave") {}
    sentinel.fail_over().unwrap();
    assert_eq!(sentinel.master().port(), old);
    assert_eq!(sentinel.master().cli(&["GET", "name"]).unwrap(), "after");
}

#[test]
fn one_sentinel_makes_the_replica_the_master_when_the_master_is_killed() {
    fails_over(1);
}

#[test]
fn three_sentinels_make_the_replica_the_master_when_the_master_is_killed() {
    fails_over(3);
}
