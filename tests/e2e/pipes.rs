//! A pipe in the place of a file: nobody comes to its other end, and whoever opened it waited for ever.

use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};
use crate::support::stores;

/// Puts a pipe in the place of the file at `path`.
fn pipe(path: &Path) {
    std::fs::remove_file(path).unwrap();
    mkfifo(path, Mode::S_IRWXU).unwrap();
}

/// It took one of the threads that all partitions share, a start, or a tool, for good.
#[test]
fn a_pipe_in_the_place_of_a_file_is_told_and_keeps_nobody_else() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    corelog
        .run(["topic", "create", "t", "--partitions", "4"])
        .done();
    corelog.run(["topic", "create", "u"]).done();
    let fill = || {
        for partition in ["0", "1", "2", "3"] {
            let produce = ["produce", "t", "--partition", partition];
            corelog.feed(produce, b"a\n").done();
        }
    };
    fill();
    corelog.run(["snapshot", "create", "s"]).done();
    fill();
    server.stop();
    let home = data.join("topics/t");
    let index = home.join("3/00000000000000000000.index");
    let pipes = [
        home.join("0/manifest"),
        home.join("1/mark"),
        stores::of(&home, 2).pop().unwrap(),
        data.join("topics/u/topic"),
    ];
    pipes.iter().for_each(|path| pipe(path));
    pipe(&index);
    pipe(&data.join("snapshots/s/snapshot"));
    let verify = ["verify", data.to_str().unwrap(), "--deep"];
    let (out, said, code) = Corelog::offline().run(verify).parts();
    assert!(matches!(code, Some(1 | 3)), "{code:?}: {said}");
    let told = String::from_utf8(out).unwrap() + &said;
    for path in &pipes {
        let path = path.display();
        assert!(told.contains(&format!("{path} is a pipe")), "{told}");
        let inspect = ["inspect".to_owned(), path.to_string()];
        let (_, said, code) = Corelog::offline().run(inspect).parts();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is a pipe"), "{said}");
    }
    let server = Server::start(&data);
    let corelog = Corelog::to(&server);
    let read = ["consume", "t", "--partition", "3"];
    assert_eq!(corelog.run(read).text(), "a\na\n");
    let (_, said, code) = corelog.run(["snapshot", "list"]).parts();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("is a pipe"), "{said}");
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    for path in &pipes {
        let told = format!("{} is a pipe", path.display());
        assert!(ended.log.contains(&told), "{told}\n{}", ended.log);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_nodes_own_file_ends_a_start() {
    // One in the place of the node's is not where it was made.
    for (name, told) in [("place", "place is a pipe"), ("node", "is a copy")] {
        let folder = Folder::new();
        Server::start(folder.path()).stop();
        pipe(&folder.path().join(name));
        let (code, said) = Start::on(folder.path()).refused();
        assert!(code.is_some_and(|code| code != 0), "{name}: {said}");
        assert!(said.contains(told), "{said}");
    }
}
