"""Several services on one uplink, in virtual time: the product's planner, ways to do without it, and the most there is to be had."""
