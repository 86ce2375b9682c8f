"""What the reference's bridge plugin attached, and attachments whose records were lost.

`takeover` finds its links, `takeover_check` and `takeover_gc` do CHECK and GC of them, `leftovers` removes
rules that no record tells of; `reference` and `reference_nft` know its rules.
"""
