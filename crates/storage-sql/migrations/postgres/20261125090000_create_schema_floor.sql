-- The oldest step that a program must know to work on this schema. Steps that come later are such that it does not notice
-- them; one that is not raises this to itself.
CREATE TABLE schema_floor (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    needs_step BIGINT NOT NULL
);
INSERT INTO schema_floor (only_row, needs_step) VALUES (1, 20261125090000);
