"""What the reference's bridge plugin attached, and attachments whose records were lost.

`plan` says what they are made of. `takeover` finds links and `takeover_gc` all that GC removes, `orphans`
removes rules without a record; `reference_rules` are the reference's, which `reference` and
`reference_nft` know how to find.
"""
