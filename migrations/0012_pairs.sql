-- What may still be withdrawn is looked for in the backlog; nothing else used this
-- index, and every submit paid for it.
--
-- Locks: access exclusive on smpp_origins for a moment.

drop index smpp_origins_pair;
