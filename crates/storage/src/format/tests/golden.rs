//! The bytes of every format, for ever: a change here is a change of version.

use corelog_record::Chain;

use super::samples;
use crate::format::edit::Frame;
use crate::format::index::{self, Row};
use crate::format::manifest::Header;
use crate::format::mark::Slot;
use crate::format::node::Node;
use crate::format::snapshot::Summary;
use crate::format::topic::Topic;

#[test]
fn an_index_header_is_these_64_bytes() {
    let bytes = samples::index_header().encode();
    check(
        &bytes,
        "\
         434c4f47494e4458010000000000000022222222222222222222222222222222 \
         e8030000000000003200000000000000efcdab896745230100000000400327b8",
    );
    assert_eq!(
        index::Header::decode(&bytes).unwrap(),
        samples::index_header()
    );
}

#[test]
fn an_index_row_is_these_32_bytes() {
    let bytes = samples::row().encode();
    check(
        &bytes,
        "\
         11000000041000000068e5cf8b010000030000001032547698badcfe7be4edb1",
    );
    assert_eq!(Row::decode(&bytes).unwrap(), samples::row());
}

#[test]
fn a_mark_slot_is_these_128_bytes_then_zeros_and_a_checksum() {
    let bytes = samples::slot().encode();
    check(
        &bytes[..128],
        "\
         434c4f474d41524b010000000000000022222222222222222222222222222222 \
         333333333333333333333333333333330900000000000000e803000000000000 \
         02000000010000000000010000000000d2040000000000003800000000000000 \
         efcdab89674523010068e5cf8b01000003000000f040e5cf8b01000000000000",
    );
    assert!(bytes[128..508].iter().all(|&byte| byte == 0));
    check(&bytes[508..512], "5874bd9c");
    assert!(bytes[512..].iter().all(|&byte| byte == 0));
    assert_eq!(Slot::decode(&bytes).unwrap(), samples::slot());
}

#[test]
fn a_mark_of_before_segments_had_a_time_is_one_of_which_that_is_not_known() {
    let slot = Slot {
        born: None,
        ..samples::slot()
    };
    let bytes = slot.encode();
    assert!(bytes[116..508].iter().all(|&byte| byte == 0));
    check(&bytes[508..512], "5577dda1");
    assert_eq!(Slot::decode(&bytes).unwrap(), slot);
}

#[test]
fn a_manifest_header_is_these_72_bytes_then_zeros_and_a_checksum() {
    let bytes = samples::header().encode();
    assert_eq!(bytes.len(), 4096);
    check(
        &bytes[..72],
        "\
         434c4f474d414e49010000000000000011111111111111111111111111111111 \
         0700000000000000222222222222222222222222222222223333333333333333 \
         3333333333333333",
    );
    assert!(bytes[72..508].iter().all(|&byte| byte == 0));
    check(&bytes[508..512], "143bf02d");
    assert!(bytes[512..].iter().all(|&byte| byte == 0));
    assert_eq!(Header::decode(&bytes).unwrap(), samples::header());
}

#[test]
fn each_kind_of_edit_is_these_bytes() {
    let expected = EDITS;
    let edits = samples::edits();
    assert_eq!(edits.len(), expected.len());
    for ((edit, hex), sequence) in edits.iter().zip(expected).zip(1..) {
        let bytes = edit.encode(sequence);
        check(&bytes, hex);
        let frame = Frame::read(&bytes).unwrap();
        assert_eq!(frame.sequence, sequence);
        assert_eq!(frame.bytes(), bytes.len());
        assert_eq!(frame.decode().unwrap(), *edit);
    }
}

#[test]
fn an_edit_of_two_seals_is_these_bytes() {
    let bytes = samples::seals().encode(9);
    check(
        &bytes,
        "\
         260100000b000000090000009588c57981a57365616c739283a6646967657374 \
         8aa46b696e64a86f726967696e616ca46261736564a3656e64ccc8a76f726469 \
         6e616c0aab656e645f6f7264696e616c14a56279746573cd2710a76261746368 \
         65730aa5636861696ecdaba9a9656e645f636861696ecdab05a468617368c0ad \
         6d61785f74696d657374616d70cf0000018bcfe56800a67365616c6564cf0000 \
         018bcfe56be883a66469676573748aa46b696e64a86f726967696e616ca46261 \
         7365ccc8a3656e64cd012ca76f7264696e616c14ab656e645f6f7264696e616c \
         1ea56279746573cd2710a7626174636865730aa5636861696ecdab05a9656e64 \
         5f636861696ecdaae1a468617368c0ad6d61785f74696d657374616d70cf0000 \
         018bcfe56800a67365616c6564cf0000018bcfe56be800000000000000000000",
    );
    let frame = Frame::read(&bytes).unwrap();
    assert_eq!(frame.decode().unwrap(), samples::seals());
}

#[test]
fn a_topic_file_is_these_bytes() {
    let bytes = samples::topic().encode().unwrap();
    check(
        &bytes,
        "\
         434c4f47544f50430100000000000000a30000008e7737f085a26964c4101111 \
         1111111111111111111111111111a46e616d65a96f72646572732e6575aa7061 \
         72746974696f6e7308a763726561746564cf0000018bcfe56800a87365747469 \
         6e677385a361636ba86163636570746564b0726574656e74696f6e5f6167655f \
         6d73ce240c8400af726574656e74696f6e5f6279746573c0ad7365676d656e74 \
         5f6279746573ce08000000ae7365676d656e745f6167655f6d73c0",
    );
    assert_eq!(Topic::decode(&bytes).unwrap(), samples::topic());
}

#[test]
fn a_node_file_is_these_bytes() {
    let bytes = samples::node().encode();
    check(
        &bytes,
        "\
         434c4f474e4f44450100000000000000270000005ecb972f82a26964c4104444 \
         4444444444444444444444444444a763726561746564cf0000018bcfe56800",
    );
    assert_eq!(Node::decode(&bytes).unwrap(), samples::node());
}

/// Put together by hand from the document: map, names, numbers, checksum.
#[test]
fn a_snapshot_file_is_these_bytes() {
    let bytes = samples::snapshot().encode().unwrap();
    check(
        &bytes,
        "\
         434c4f47534e41500100000000000000c8000000c41e8f1483a46e616d65a76e \
         696768746c79a763726561746564cf0000018bcfe56800a6746f706963739184 \
         a46e616d65a66f7264657273a26964c410111111111111111111111111111111 \
         11a873657474696e6773c4066f7061717565aa706172746974696f6e739285a9 \
         706172746974696f6e00a96c6f675f7374617274cd01f4a3656e64cd03e8a562 \
         79746573ce000186a0a87365676d656e74730185a9706172746974696f6e01a9 \
         6c6f675f737461727400a3656e6400a5627974657300a87365676d656e747302",
    );
    assert_eq!(Summary::decode(&bytes).unwrap(), samples::snapshot());
}

/// The same, each partition with the chain at its end.
#[test]
fn a_snapshot_file_with_chains_is_these_bytes() {
    let mut summary = samples::snapshot();
    for partition in &mut summary.topics[0].partitions {
        let number = u64::from(partition.partition.get());
        partition.chain = Some(Chain::from_raw(0x0123_4567_89ab_cdef - number));
    }
    let bytes = summary.encode().unwrap();
    check(
        &bytes,
        "\
         434c4f47534e41500100000000000000e600000070f39e0883a46e616d65a76e \
         696768746c79a763726561746564cf0000018bcfe56800a6746f706963739184 \
         a46e616d65a66f7264657273a26964c410111111111111111111111111111111 \
         11a873657474696e6773c4066f7061717565aa706172746974696f6e739286a9 \
         706172746974696f6e00a96c6f675f7374617274cd01f4a3656e64cd03e8a563 \
         6861696ecf0123456789abcdefa56279746573ce000186a0a87365676d656e74 \
         730186a9706172746974696f6e01a96c6f675f737461727400a3656e6400a563 \
         6861696ecf0123456789abcdeea5627974657300a87365676d656e747302",
    );
    assert_eq!(Summary::decode(&bytes).unwrap(), summary);
}

#[test]
fn the_worked_examples_in_the_document_are_what_is_written() {
    let text = include_str!("../../../FORMAT.md");
    let examples: Vec<String> = text
        .split("```hex\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(|lines| {
            // Everything behind three spaces is said about the bytes.
            let bytes = lines.lines().filter_map(|line| line.split("   ").next());
            bytes.collect::<String>().replace(' ', "")
        })
        .collect();
    assert_eq!(examples.len(), 4);
    check(&samples::edits()[3].encode(4), &examples[0]);
    check(&samples::row().encode(), &examples[1]);
    check(&samples::slot().encode()[..128], &examples[2]);
    check(&samples::node().encode(), &examples[3]);
}

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected: String = expected.split_whitespace().collect();
    assert_eq!(hex, expected);
}

const EDITS: [&str; 12] = [
    "\
         1b0000000700000001000000979c454f83a66f666673657464a76f7264696e61 \
         6c0aa5636861696ecdaba90000000000",
    "\
         330000000800000002000000215810a684a565706f636800a76c696e65616765 \
         c41000000000000000000000000000000000a66f666673657464a76f7264696e \
         616c0a00000000000000000000000000",
    "\
         19000000010000000300000022e8800183a46261736564a76f7264696e616c0a \
         a5636861696ecdaba900000000000000",
    "\
         1a000000010000000400000064424f7d83a462617365ccc8a76f7264696e616c \
         14a5636861696ecdab05000000000000",
    "\
         8e000000020000000500000053e973e983a66469676573748aa46b696e64a86f \
         726967696e616ca46261736564a3656e64ccc8a76f7264696e616c0aab656e64 \
         5f6f7264696e616c14a56279746573cd2710a7626174636865730aa563686169 \
         6ecdaba9a9656e645f636861696ecdab05a468617368c0ad6d61785f74696d65 \
         7374616d70cf0000018bcfe56800a67365616c6564cf0000018bcfe56be80000",
    "\
         1300000003000000060000003cd75fd082a46261736564aa67656e6572617469 \
         6f6e0100000000000000000000000000",
    "\
         0900000005000000070000006785fee481a57374617274cc9600000000000000",
    "\
         35000000080000000800000003bb659384a565706f636801a76c696e65616765 \
         c41001010101010101010101010101010101a66f6666736574cd012ca76f7264 \
         696e616c1e0000000000000000000000",
    "\
         2e0000000600000009000000621b983585a66f6666736574cd0136a76f726469 \
         6e616c1fa5636861696e05aa67656e65726174696f6e01a565706f6368010000",
    "\
         09000000040000000a000000a952a7a881a57374617274ccc800000000000000",
    "\
         27000000090000000b0000008d61ba0281a76368616e67657382a66f72696769 \
         6eae3132372e302e302e313a37343030a56f74686572c0000000000000000000",
    "\
         0f0000000a0000000c000000fdf2914b81a474696d65cf0000018bcfe56fd000",
];

#[test]
fn a_topic_file_with_replicas_is_these_bytes_and_requires_their_feature() {
    let topic = Topic {
        replicas: samples::replicas(),
        ..samples::topic()
    };
    let bytes = topic.encode().unwrap();
    check(
        &bytes,
        "\
         434c4f47544f50430100000001000000c601000069a7b59a86a26964c4101111 \
         1111111111111111111111111111a46e616d65a96f72646572732e6575aa7061 \
         72746974696f6e7308a763726561746564cf0000018bcfe56800a87365747469 \
         6e677385a361636ba86163636570746564b0726574656e74696f6e5f6167655f \
         6d73ce240c8400af726574656e74696f6e5f6279746573c0ad7365676d656e74 \
         5f6279746573ce08000000ae7365676d656e745f6167655f6d73c0a87265706c \
         696361739483a9706172746974696f6e00a4726f6c65a56f776e6572a9666f6c \
         6c6f776572739183a46e6f6465c41044444444444444444444444444444444a4 \
         636f7079c41055555555555555555555555555555555a761646472657373ad31 \
         302e302e302e323a3734303086a9706172746974696f6e01a4726f6c65a8666f \
         6c6c6f776572a7736f757263657391ad31302e302e302e313a37343030a5756e \
         74696c64a472617465ce00100000a87365676d656e747392003283a970617274 \
         6974696f6e02a4726f6c65ac68616e64696e672d6f766572a7736f7572636573 \
         91ad31302e302e302e313a3734303083a9706172746974696f6e03a4726f6c65 \
         a666656e636564a7736f757263657391ad31302e302e302e313a37343030",
    );
    assert_eq!(Topic::decode(&bytes).unwrap(), topic);
}

/// Keys that came later: who is told of a promotion, and which node is meant.
#[test]
fn a_topic_file_of_a_promoted_and_of_a_fenced_partition_is_these_bytes() {
    let topic = Topic {
        replicas: samples::outranking(),
        ..samples::topic()
    };
    let bytes = topic.encode().unwrap();
    check(
        &bytes,
        "\
         434c4f47544f5043010000000100000025010000cdca053a86a26964c4101111 \
         1111111111111111111111111111a46e616d65a96f72646572732e6575aa7061 \
         72746974696f6e7308a763726561746564cf0000018bcfe56800a87365747469 \
         6e677385a361636ba86163636570746564b0726574656e74696f6e5f6167655f \
         6d73ce240c8400af726574656e74696f6e5f6279746573c0ad7365676d656e74 \
         5f6279746573ce08000000ae7365676d656e745f6167655f6d73c0a87265706c \
         696361739283a9706172746974696f6e00a4726f6c65a56f776e6572a96f7574 \
         72616e6b656491ad31302e302e302e313a3734303084a9706172746974696f6e \
         01a4726f6c65a666656e636564a7736f757263657391ad31302e302e302e313a \
         37343030a6746172676574c41044444444444444444444444444444444",
    );
    assert_eq!(Topic::decode(&bytes).unwrap(), topic);
}
