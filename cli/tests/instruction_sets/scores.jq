# The scores of a report that have a value, by all that tells them apart.
[
    .scores[]
    | select(.value != null)
    | { key: ([.dictionary, .site, .attribute, .metric, .method, .k, .threshold] | map(tostring) | join(" ")), value }
]
| from_entries
