//! The graph of a model: counts, numbers and names of its edges.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use circuits::Graph;

#[test]
fn edges_are_as_many_as_published() {
    // The paper, the plots of its authors, and MIB (whose keys and values are one a head of queries).
    for (graph, edges) in [
        (Graph::of(12, 12, 12, false), 32_491),
        (Graph::of(24, 16, 16, false), 231_877),
        (Graph::of(36, 20, 20, false), 810_703),
        (Graph::of(48, 25, 25, false), 2_235_025),
        (Graph::of(32, 32, 32, true), 1_591_857),
        (Graph::of(24, 14, 14, false), 179_749),
        (Graph::of(26, 8, 8, false), 74_218),
    ] {
        assert_eq!(graph.n_edges(), edges);
        assert_eq!(graph.edges().count(), edges);
    }
    let gpt2 = Graph::of(12, 12, 12, false);
    assert_eq!((gpt2.n_sources(), gpt2.n_destinations()), (157, 445));
}

#[test]
fn numbers_and_names_lead_back_to_each_edge() {
    for graph in [
        Graph::of(3, 4, 4, false),
        Graph::of(2, 6, 2, true),
        Graph::of(2, 4, 1, false),
    ] {
        for (number, edge) in graph.edges().enumerate() {
            assert_eq!(graph.edge_number(edge), number);
            assert_eq!(graph.edge(number), edge);
            let destination = graph.destination(edge.destination);
            let slot = destination.slot.map(|slot| slot.to_string());
            let found = graph.find(
                &graph.source(edge.source).to_string(),
                &destination.node.to_string(),
                slot.as_deref(),
            );
            assert_eq!(found.unwrap(), edge);
            assert_eq!(graph.parse(&graph.name(edge)).unwrap(), edge);
        }
        for source in 0..graph.n_sources() {
            for destination in 0..graph.n_destinations() {
                let reads = graph.readers(destination).contains(&source);
                assert_eq!(reads, graph.inputs_of(source).contains(&destination));
                // Nothing reads what comes after it.
                assert!(!reads || graph.sources_of(destination) <= source);
            }
        }
    }
}

#[test]
fn shared_keys_are_one_destination_for_their_heads() {
    let graph = Graph::of(2, 6, 2, false);
    let edge = graph.find("m0", "a1.kv1", Some("k")).unwrap();
    let readers = graph
        .readers(edge.destination)
        .map(|reader| graph.source(reader).to_string());
    assert_eq!(readers.collect::<Vec<_>>(), ["a1.h3", "a1.h4", "a1.h5"]);
    for (source, destination, slot) in [
        ("m0", "a1.h1", Some("k")),
        ("m1", "m0", None),
        ("m1", "m1", None),
        ("input", "a2.h0", Some("q")),
        ("input", "m0", Some("q")),
        ("input", "a0.h0", None),
        ("logits", "m0", None),
        ("input", "m00", None),
        ("input", "a0.h6", Some("q")),
    ] {
        assert!(graph.find(source, destination, slot).is_err(), "{source} {destination}");
    }
}
