-- The atlas: one DuckDB file about one language model read over one dataset.
--
-- This file is the contract. Every table, view and column is explained by its COMMENT (meaning, unit, range,
-- what NULL means); a test queries DuckDB for gaps. It is a template: "{d_model}" becomes the model's width.
-- Tables are sorted by their first column, which is what makes point lookups fast: there are no indexes and no
-- primary keys, uniqueness is checked by the loader before a file is published.
--
-- Words: congruence is the dot product of a neuron's W_out row with a token's readout column; "top" is the positive
-- end, "bottom" the negative end; ties break towards the lower id everywhere.

-- ---------------------------------------------------------------------------------------------------------------
-- What this atlas is
-- ---------------------------------------------------------------------------------------------------------------

CREATE TABLE atlas (
    slug VARCHAR NOT NULL,
    build_id VARCHAR NOT NULL,
    schema_version INTEGER NOT NULL,
    built_at TIMESTAMP NOT NULL,
    model_name VARCHAR NOT NULL,
    model_revision VARCHAR,
    model_fingerprint VARCHAR NOT NULL,
    n_layers INTEGER NOT NULL,
    d_model INTEGER NOT NULL,
    d_mlp INTEGER NOT NULL,
    d_vocab INTEGER NOT NULL,
    act_fn VARCHAR NOT NULL,
    gated BOOLEAN NOT NULL,
    normalization VARCHAR NOT NULL,
    readout VARCHAR NOT NULL,
    readout_mean FLOAT[] NOT NULL,
    dataset_name VARCHAR NOT NULL,
    dataset_config VARCHAR,
    dataset_split VARCHAR,
    dataset_fingerprint VARCHAR NOT NULL,
    text_column VARCHAR NOT NULL,
    n_texts BIGINT NOT NULL,
    n_positions BIGINT NOT NULL,
    first_text BIGINT NOT NULL,
    text_ranges VARCHAR NOT NULL,
    context_length INTEGER NOT NULL,
    bos_token_id INTEGER,
    bos_counted BOOLEAN NOT NULL,
    overflow VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    hook VARCHAR NOT NULL,
    top_tokens INTEGER NOT NULL,
    top_neurons INTEGER NOT NULL,
    top_texts INTEGER NOT NULL,
    pair_candidates INTEGER NOT NULL,
    "window" INTEGER NOT NULL,
    has_weights BOOLEAN NOT NULL,
    versions JSON NOT NULL,
    command VARCHAR NOT NULL
);
COMMENT ON TABLE atlas IS 'What this file is: one row. Model, data, settings and versions, enough to rebuild it.';
COMMENT ON COLUMN atlas.slug IS 'Name of the atlas in URLs: [a-z0-9-]+.';
COMMENT ON COLUMN atlas.build_id IS 'Identity of the content: 12 hex digits of a hash over every row of every table; built_at and command are left out, so the same inputs give the same build_id.';
COMMENT ON COLUMN atlas.schema_version IS 'Version of this schema. Readers refuse other versions; `atlas upgrade` writes a new file.';
COMMENT ON COLUMN atlas.built_at IS 'When the file was written, UTC.';
COMMENT ON COLUMN atlas.model_name IS 'The model as it was asked for (hub id, folder name, GGUF file name or built-in name).';
COMMENT ON COLUMN atlas.model_revision IS 'Hub commit, or version of the package that carried the weights. NULL: the source has no revisions (a local folder or file).';
COMMENT ON COLUMN atlas.model_fingerprint IS 'Hash of the weights (names, shapes, float32 bytes): xxh3-128, 32 hex digits.';
COMMENT ON COLUMN atlas.n_layers IS 'Number of transformer blocks, each with one MLP.';
COMMENT ON COLUMN atlas.d_model IS 'Width of the residual stream.';
COMMENT ON COLUMN atlas.d_mlp IS 'Neurons per layer.';
COMMENT ON COLUMN atlas.d_vocab IS 'Columns of the readout (rows padded beyond the tokenizer included).';
COMMENT ON COLUMN atlas.act_fn IS 'Activation function of the MLP, as the model''s configuration names it.';
COMMENT ON COLUMN atlas.gated IS 'Whether the MLP is gated (SwiGLU, GeGLU): activations are then signed, act(gate) * in, and the bottom end means as much as the top.';
COMMENT ON COLUMN atlas.normalization IS '''LN'' (LayerNorm) or ''RMS'' (RMSNorm).';
COMMENT ON COLUMN atlas.readout IS '''unembed'': W_U with the final norm''s gain folded in, centred over the vocabulary. ''embed'': W_E transposed, rows centred over d_model for LayerNorm models (the convention of the post "We Found An Neuron in GPT-2").';
COMMENT ON COLUMN atlas.readout_mean IS 'Mean of the readout over the vocabulary, [d_model]. For readout ''unembed'' it has been subtracted; for ''embed'' it has not.';
COMMENT ON COLUMN atlas.dataset_name IS 'The dataset as it was asked for (hub id, file name, or ''pydoc'').';
COMMENT ON COLUMN atlas.dataset_config IS 'Configuration of the hub dataset. NULL: none was named.';
COMMENT ON COLUMN atlas.dataset_split IS 'Split of the dataset. NULL: the source has no splits.';
COMMENT ON COLUMN atlas.dataset_fingerprint IS 'Hash of the dataset''s texts in order (xxh3-128, 32 hex digits); for a streamed dataset, of its name, configuration, split, text column and revision.';
COMMENT ON COLUMN atlas.text_column IS 'Column of the dataset that was read.';
COMMENT ON COLUMN atlas.n_texts IS 'Texts run through the model (chunks count one each).';
COMMENT ON COLUMN atlas.n_positions IS 'Positions counted: every neuron''s activation histogram sums to this.';
COMMENT ON COLUMN atlas.first_text IS 'text_id of the first text run: 0 unless --texts chose a part of the dataset.';
COMMENT ON COLUMN atlas.text_ranges IS 'Which texts of the dataset were run: A:B for text_id A up to but not including B; several, comma-separated and ascending, where parts that do not adjoin were merged.';
COMMENT ON COLUMN atlas.context_length IS 'Most tokens in a text, BOS included.';
COMMENT ON COLUMN atlas.bos_token_id IS 'Token put before every text (EOS where the tokenizer has no BOS). NULL: the tokenizer has neither, and position 0 is an ordinary position.';
COMMENT ON COLUMN atlas.bos_counted IS 'Whether the BOS position is counted in statistics and examples.';
COMMENT ON COLUMN atlas.overflow IS 'What happened to texts longer than the context: ''truncate'' or ''split''.';
COMMENT ON COLUMN atlas.dtype IS 'Precision of the blocks'' forward pass; congruence, final norm and unembedding are always float32.';
COMMENT ON COLUMN atlas.device IS 'Device of the forward pass; comma-separated where parts of several were merged.';
COMMENT ON COLUMN atlas.seed IS 'Seed of the choice of interval examples.';
COMMENT ON COLUMN atlas.hook IS 'Where activations are read, in TransformerLens'' name.';
COMMENT ON COLUMN atlas.top_tokens IS 'Tokens kept per neuron and direction in neuron_token.';
COMMENT ON COLUMN atlas.top_neurons IS 'Neurons kept per token and direction in token_neuron.';
COMMENT ON COLUMN atlas.top_texts IS 'Most texts kept per neuron and kind (''max'', ''min'') in example.';
COMMENT ON COLUMN atlas.pair_candidates IS 'K: how many best (gated: and worst) tokens of each neuron and neurons of each token were counted.';
COMMENT ON COLUMN atlas."window" IS 'Most tokens in an example''s window.';
COMMENT ON COLUMN atlas.has_weights IS 'Whether neuron_weight and token_weight are filled.';
COMMENT ON COLUMN atlas.versions IS 'Versions of the program and the libraries that built the file, a JSON object; comma-separated where parts of several were merged.';
COMMENT ON COLUMN atlas.command IS 'The command that built the file.';

-- ---------------------------------------------------------------------------------------------------------------
-- Tokens and neurons
-- ---------------------------------------------------------------------------------------------------------------

CREATE TABLE token (
    token_id INTEGER NOT NULL,
    piece VARCHAR,
    "text" VARCHAR,
    bytes BLOB,
    special BOOLEAN NOT NULL,
    in_tokenizer BOOLEAN NOT NULL,
    n_input BIGINT NOT NULL,
    n_actual BIGINT NOT NULL,
    n_predicted BIGINT NOT NULL,
    best_neuron_id INTEGER NOT NULL,
    best_congruence FLOAT NOT NULL,
    neuron_gap FLOAT,
    worst_neuron_id INTEGER NOT NULL,
    worst_congruence FLOAT NOT NULL,
    neuron_gap_bottom FLOAT,
    hub_count INTEGER NOT NULL
);
COMMENT ON TABLE token IS 'Every token of the vocabulary, a row each, sorted by token_id.';
COMMENT ON COLUMN token.token_id IS 'Id in the model''s vocabulary, from 0.';
COMMENT ON COLUMN token.piece IS 'The vocabulary''s own spelling (''Ġan'', ''▁an''). NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN token."text" IS 'The text the token adds, leading space kept ('' an''). Bytes that are not UTF-8 by themselves show as U+FFFD; see bytes. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN token.bytes IS 'The exact bytes the token adds to a text. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN token.special IS 'Whether the tokenizer calls it special (BOS, EOS, chat marks).';
COMMENT ON COLUMN token.in_tokenizer IS 'False for rows that pad the vocabulary beyond the tokenizer.';
COMMENT ON COLUMN token.n_input IS 'Counted positions at which it is the input token.';
COMMENT ON COLUMN token.n_actual IS 'Counted positions after which it is the token that really comes next.';
COMMENT ON COLUMN token.n_predicted IS 'Counted positions at which it is the model''s top prediction.';
COMMENT ON COLUMN token.best_neuron_id IS 'Neuron most congruent with it, over the whole model.';
COMMENT ON COLUMN token.best_congruence IS 'Congruence of that neuron with it.';
COMMENT ON COLUMN token.neuron_gap IS 'Its best congruence minus its second best, over all neurons (>= 0). NULL: the model has one neuron.';
COMMENT ON COLUMN token.worst_neuron_id IS 'Neuron least congruent with it (most negative), over the whole model.';
COMMENT ON COLUMN token.worst_congruence IS 'Congruence of that neuron with it.';
COMMENT ON COLUMN token.neuron_gap_bottom IS 'Its second lowest congruence minus its lowest, over all neurons (>= 0). NULL: the model has one neuron.';
COMMENT ON COLUMN token.hub_count IS 'Neurons whose best token this is.';

CREATE TABLE neuron (
    neuron_id INTEGER NOT NULL,
    layer INTEGER NOT NULL,
    "index" INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    w_in_norm FLOAT NOT NULL,
    w_gate_norm FLOAT,
    w_out_norm FLOAT NOT NULL,
    in_out_cosine FLOAT,
    gate_out_cosine FLOAT,
    best_token_id INTEGER NOT NULL,
    best_congruence FLOAT NOT NULL,
    token_gap FLOAT,
    worst_token_id INTEGER NOT NULL,
    worst_congruence FLOAT NOT NULL,
    token_gap_bottom FLOAT,
    hub_count INTEGER NOT NULL,
    mean_congruence FLOAT NOT NULL,
    congruence_mean FLOAT NOT NULL,
    congruence_std FLOAT NOT NULL,
    congruence_skewness FLOAT,
    congruence_kurtosis FLOAT,
    activation_mean DOUBLE NOT NULL,
    activation_std DOUBLE NOT NULL,
    activation_skewness DOUBLE,
    activation_kurtosis DOUBLE,
    activation_min FLOAT NOT NULL,
    activation_max FLOAT NOT NULL,
    positive_fraction DOUBLE NOT NULL,
    dead BOOLEAN NOT NULL
);
COMMENT ON TABLE neuron IS 'Every MLP neuron, a row each, sorted by neuron_id.';
COMMENT ON COLUMN neuron.neuron_id IS 'layer * d_mlp + index.';
COMMENT ON COLUMN neuron.layer IS 'Block, from 0.';
COMMENT ON COLUMN neuron."index" IS 'Hidden unit within the layer''s MLP, from 0.';
COMMENT ON COLUMN neuron.name IS 'L{layer}N{index}, as in L31N892.';
COMMENT ON COLUMN neuron.w_in_norm IS 'Euclidean norm of its input weights (norm gain folded; centred for LayerNorm).';
COMMENT ON COLUMN neuron.w_gate_norm IS 'Euclidean norm of its gate weights (norm gain folded). NULL: the MLP is not gated.';
COMMENT ON COLUMN neuron.w_out_norm IS 'Euclidean norm of its output weights (centred for LayerNorm).';
COMMENT ON COLUMN neuron.in_out_cosine IS 'Cosine between input and output weights, -1 to 1. NULL: one of them is zero.';
COMMENT ON COLUMN neuron.gate_out_cosine IS 'Cosine between gate and output weights, -1 to 1. NULL: the MLP is not gated, or one of them is zero.';
COMMENT ON COLUMN neuron.best_token_id IS 'Token its output weights are most congruent with.';
COMMENT ON COLUMN neuron.best_congruence IS 'Congruence with that token.';
COMMENT ON COLUMN neuron.token_gap IS 'Its best congruence minus its second best, over tokens (>= 0). NULL: the vocabulary has one token.';
COMMENT ON COLUMN neuron.worst_token_id IS 'Token its output weights are least congruent with (most negative).';
COMMENT ON COLUMN neuron.worst_congruence IS 'Congruence with that token.';
COMMENT ON COLUMN neuron.token_gap_bottom IS 'Its second lowest congruence minus its lowest, over tokens (>= 0). NULL: the vocabulary has one token.';
COMMENT ON COLUMN neuron.hub_count IS 'Tokens whose best neuron this is.';
COMMENT ON COLUMN neuron.mean_congruence IS 'w_out . atlas.readout_mean: the part of congruence that every token shares; removed from the other figures when readout is ''unembed''.';
COMMENT ON COLUMN neuron.congruence_mean IS 'Mean of its congruence over the vocabulary.';
COMMENT ON COLUMN neuron.congruence_std IS 'Standard deviation (population) of its congruence over the vocabulary.';
COMMENT ON COLUMN neuron.congruence_skewness IS 'Third standardised moment of its congruence over the vocabulary. NULL: the standard deviation is zero.';
COMMENT ON COLUMN neuron.congruence_kurtosis IS 'Fourth standardised moment of its congruence over the vocabulary (3 for a normal distribution). NULL: the standard deviation is zero.';
COMMENT ON COLUMN neuron.activation_mean IS 'Mean activation over counted positions.';
COMMENT ON COLUMN neuron.activation_std IS 'Standard deviation (population) of the activation over counted positions.';
COMMENT ON COLUMN neuron.activation_skewness IS 'Third standardised moment of the activation. NULL: the standard deviation is zero.';
COMMENT ON COLUMN neuron.activation_kurtosis IS 'Fourth standardised moment of the activation (3 for a normal distribution). NULL: the standard deviation is zero.';
COMMENT ON COLUMN neuron.activation_min IS 'Least activation over counted positions.';
COMMENT ON COLUMN neuron.activation_max IS 'Greatest activation over counted positions.';
COMMENT ON COLUMN neuron.positive_fraction IS 'Fraction of counted positions with activation > 0, 0 to 1.';
COMMENT ON COLUMN neuron.dead IS 'Whether every counted activation lies in the zero bin (|activation| below 2^-6).';

-- ---------------------------------------------------------------------------------------------------------------
-- Congruence
-- ---------------------------------------------------------------------------------------------------------------

-- USING COMPRESSION names what DuckDB chooses here anyway: trying the others costs a tenth of these tables' load.
CREATE TABLE neuron_token (
    neuron_id INTEGER USING COMPRESSION rle NOT NULL,
    direction VARCHAR NOT NULL,
    rank SMALLINT USING COMPRESSION bitpacking NOT NULL,
    token_id INTEGER USING COMPRESSION bitpacking NOT NULL,
    congruence FLOAT USING COMPRESSION alprd NOT NULL
);
COMMENT ON TABLE neuron_token IS 'The tokens each neuron is most and least congruent with: atlas.top_tokens a direction, sorted by neuron_id, direction, rank.';
COMMENT ON COLUMN neuron_token.neuron_id IS 'Neuron.';
COMMENT ON COLUMN neuron_token.direction IS '''top'': highest congruence first. ''bottom'': lowest first.';
COMMENT ON COLUMN neuron_token.rank IS 'Place in that direction, from 1; ties by lower token_id.';
COMMENT ON COLUMN neuron_token.token_id IS 'Token.';
COMMENT ON COLUMN neuron_token.congruence IS 'w_out . readout column, float32.';

CREATE TABLE token_neuron (
    token_id INTEGER USING COMPRESSION rle NOT NULL,
    direction VARCHAR NOT NULL,
    rank SMALLINT USING COMPRESSION bitpacking NOT NULL,
    neuron_id INTEGER USING COMPRESSION bitpacking NOT NULL,
    congruence FLOAT USING COMPRESSION alprd NOT NULL
);
COMMENT ON TABLE token_neuron IS 'The neurons most and least congruent with each token, over the whole model: atlas.top_neurons a direction, sorted by token_id, direction, rank.';
COMMENT ON COLUMN token_neuron.token_id IS 'Token.';
COMMENT ON COLUMN token_neuron.direction IS '''top'': highest congruence first. ''bottom'': lowest first.';
COMMENT ON COLUMN token_neuron.rank IS 'Place in that direction, from 1; ties by lower neuron_id.';
COMMENT ON COLUMN token_neuron.neuron_id IS 'Neuron.';
COMMENT ON COLUMN token_neuron.congruence IS 'w_out . readout column, float32.';

CREATE TABLE exclusive_pair (
    direction VARCHAR NOT NULL,
    rank INTEGER NOT NULL,
    neuron_id INTEGER NOT NULL,
    token_id INTEGER NOT NULL,
    congruence FLOAT NOT NULL,
    token_gap FLOAT NOT NULL,
    neuron_gap FLOAT NOT NULL,
    score FLOAT NOT NULL
);
COMMENT ON TABLE exclusive_pair IS 'Every (neuron, token) pair that is each other''s best; for gated models also each other''s worst. Special and never-occurring tokens included. Sorted by direction, rank.';
COMMENT ON COLUMN exclusive_pair.direction IS '''top'': each other''s best. ''bottom'' (gated models only): each other''s worst.';
COMMENT ON COLUMN exclusive_pair.rank IS 'Place by score within the direction, from 1; ties by lower neuron_id.';
COMMENT ON COLUMN exclusive_pair.neuron_id IS 'Neuron.';
COMMENT ON COLUMN exclusive_pair.token_id IS 'Token.';
COMMENT ON COLUMN exclusive_pair.congruence IS 'Their congruence.';
COMMENT ON COLUMN exclusive_pair.token_gap IS 'How far the neuron''s congruence with this token is beyond its next token in the direction (>= 0).';
COMMENT ON COLUMN exclusive_pair.neuron_gap IS 'How far the token''s congruence with this neuron is beyond its next neuron in the direction (>= 0).';
COMMENT ON COLUMN exclusive_pair.score IS 'token_gap * neuron_gap.';

CREATE TABLE neuron_input_token (
    neuron_id INTEGER USING COMPRESSION rle NOT NULL,
    side VARCHAR NOT NULL,
    direction VARCHAR NOT NULL,
    rank SMALLINT USING COMPRESSION bitpacking NOT NULL,
    token_id INTEGER USING COMPRESSION bitpacking NOT NULL,
    value FLOAT USING COMPRESSION alprd NOT NULL
);
COMMENT ON TABLE neuron_input_token IS 'The tokens whose embedding a neuron''s input weights read most and least, sorted by neuron_id, side, direction, rank. Only the embedding: what attention and earlier layers add is not in it.';
COMMENT ON COLUMN neuron_input_token.neuron_id IS 'Neuron.';
COMMENT ON COLUMN neuron_input_token.side IS '''in'': the input weights. ''gate'' (gated models only): the gate''s.';
COMMENT ON COLUMN neuron_input_token.direction IS '''top'': highest value first. ''bottom'': lowest first.';
COMMENT ON COLUMN neuron_input_token.rank IS 'Place in that direction, from 1; ties by lower token_id.';
COMMENT ON COLUMN neuron_input_token.token_id IS 'Token.';
COMMENT ON COLUMN neuron_input_token.value IS 'Input weights (norm gain folded; w_in centred for LayerNorm) . token embedding.';

-- ---------------------------------------------------------------------------------------------------------------
-- Activations
-- ---------------------------------------------------------------------------------------------------------------

CREATE TABLE histogram_bin (
    bin SMALLINT NOT NULL,
    lower DOUBLE NOT NULL,
    upper DOUBLE NOT NULL,
    "interval" SMALLINT NOT NULL
);
COMMENT ON TABLE histogram_bin IS 'The bins of every histogram, the same for all neurons: a float''s sign, exponent and top 2 mantissa bits, so 4 bins an octave; one bin for magnitudes below 2^-6, the outermost open.';
COMMENT ON COLUMN histogram_bin.bin IS 'Bin, from 0 (most negative) in order of activation.';
COMMENT ON COLUMN histogram_bin.lower IS 'Least activation in the bin (lower <= activation < upper); -infinity for bin 0.';
COMMENT ON COLUMN histogram_bin.upper IS 'Activations in the bin are below this; +infinity for the last bin.';
COMMENT ON COLUMN histogram_bin."interval" IS 'Octave the bin belongs to: 0 the zero bin, 1 for [2^-6, 2^-5), up to 16 for 2^9 and more; negative likewise. The same numbers as example.interval.';

CREATE TABLE activation_histogram (
    neuron_id INTEGER NOT NULL,
    bin SMALLINT NOT NULL,
    n BIGINT NOT NULL
);
COMMENT ON TABLE activation_histogram IS 'How often each neuron''s activation falls in each bin, over counted positions; empty bins have no row. Sorted by neuron_id, bin.';
COMMENT ON COLUMN activation_histogram.neuron_id IS 'Neuron.';
COMMENT ON COLUMN activation_histogram.bin IS 'Bin (see histogram_bin).';
COMMENT ON COLUMN activation_histogram.n IS 'Positions (>= 1). A neuron''s rows sum to atlas.n_positions.';

CREATE TABLE candidate_pair (
    neuron_id INTEGER NOT NULL,
    token_id INTEGER NOT NULL,
    congruence FLOAT NOT NULL,
    source VARCHAR NOT NULL
);
COMMENT ON TABLE candidate_pair IS 'The (neuron, token) pairs whose predictions were counted, sorted by neuron_id, token_id.';
COMMENT ON COLUMN candidate_pair.neuron_id IS 'Neuron.';
COMMENT ON COLUMN candidate_pair.token_id IS 'Token.';
COMMENT ON COLUMN candidate_pair.congruence IS 'Their congruence.';
COMMENT ON COLUMN candidate_pair.source IS 'Why the pair is counted, comma-separated: ''neuron_top'' (among the neuron''s K best tokens), ''neuron_bottom'', ''token_top'' (among the token''s K best neurons), ''token_bottom'', ''exclusive'', ''user'' (--pairs).';

CREATE TABLE prediction_histogram (
    neuron_id INTEGER NOT NULL,
    token_id INTEGER NOT NULL,
    bin SMALLINT NOT NULL,
    n_predicted BIGINT NOT NULL,
    n_actual BIGINT NOT NULL
);
COMMENT ON TABLE prediction_histogram IS 'For each candidate pair and bin of the neuron''s activation: how often the token was predicted, and how often it really came next. Cells with neither have no row. Sorted by neuron_id, token_id, bin.';
COMMENT ON COLUMN prediction_histogram.neuron_id IS 'Neuron.';
COMMENT ON COLUMN prediction_histogram.token_id IS 'Token.';
COMMENT ON COLUMN prediction_histogram.bin IS 'Bin of the neuron''s activation (see histogram_bin).';
COMMENT ON COLUMN prediction_histogram.n_predicted IS 'Counted positions in the bin at which the token is the model''s top prediction.';
COMMENT ON COLUMN prediction_histogram.n_actual IS 'Counted positions in the bin after which the token really comes next.';

-- ---------------------------------------------------------------------------------------------------------------
-- Texts
-- ---------------------------------------------------------------------------------------------------------------

CREATE TABLE "text" (
    text_id BIGINT NOT NULL,
    source_row BIGINT NOT NULL,
    chunk INTEGER NOT NULL,
    token_ids INTEGER[] NOT NULL,
    predicted_token_ids INTEGER[] NOT NULL
);
COMMENT ON TABLE "text" IS 'The texts that an example cites, sorted by text_id.';
COMMENT ON COLUMN "text".text_id IS 'Text, from 0 in dataset order, one for each chunk.';
COMMENT ON COLUMN "text".source_row IS 'Row of the dataset, from 0.';
COMMENT ON COLUMN "text".chunk IS 'Chunk of that row, from 0; always 0 when texts are truncated.';
COMMENT ON COLUMN "text".token_ids IS 'Its tokens, BOS included: position p is token_ids[p + 1] in SQL.';
COMMENT ON COLUMN "text".predicted_token_ids IS 'The model''s top prediction at each position, as long as token_ids.';

CREATE TABLE example (
    neuron_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    "interval" SMALLINT,
    rank SMALLINT NOT NULL,
    text_id BIGINT NOT NULL,
    position INTEGER NOT NULL,
    activation FLOAT NOT NULL,
    predicted_token_id INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    window_activations SMALLINT[] NOT NULL,
    window_scale FLOAT NOT NULL
);
COMMENT ON TABLE example IS 'Texts shown for each neuron, one position a text, sorted by neuron_id, kind, interval, rank. An activation in the window is window_activations[i] * window_scale; the view max_activating_example decodes it.';
COMMENT ON COLUMN example.neuron_id IS 'Neuron.';
COMMENT ON COLUMN example.kind IS '''max'': texts with the greatest maximum activation. ''min'' (gated models only): with the least minimum. ''interval'': ordinary texts, chosen by hash among those whose maximum lies in an octave.';
COMMENT ON COLUMN example."interval" IS 'Octave of the text''s maximum activation (see histogram_bin.interval). NULL for kinds ''max'' and ''min''.';
COMMENT ON COLUMN example.rank IS 'Place within kind (and interval), from 1: by activation for ''max'' and ''min'' (ties by lower text_id), by hash for ''interval''.';
COMMENT ON COLUMN example.text_id IS 'Text.';
COMMENT ON COLUMN example.position IS 'Position of the text''s maximum (''min'': minimum) activation, BOS being 0; the first of equals.';
COMMENT ON COLUMN example.activation IS 'Activation there, exact float32.';
COMMENT ON COLUMN example.predicted_token_id IS 'The model''s top prediction at that position.';
COMMENT ON COLUMN example.window_start IS 'Position of the window''s first token. The window never includes a BOS that is not counted.';
COMMENT ON COLUMN example.window_activations IS 'Activation at every position of the window divided by window_scale, rounded: -32767 to 32767.';
COMMENT ON COLUMN example.window_scale IS 'Greatest |activation| in the window / 32767: half of it bounds the rounding error.';

-- ---------------------------------------------------------------------------------------------------------------
-- Weights (empty with --no-weights)
-- ---------------------------------------------------------------------------------------------------------------

CREATE TABLE neuron_weight (
    neuron_id INTEGER NOT NULL,
    w_in FLOAT[{d_model}] NOT NULL,
    w_out FLOAT[{d_model}] NOT NULL,
    w_gate FLOAT[{d_model}]
);
COMMENT ON TABLE neuron_weight IS 'The weights of each neuron as TransformerLens'' enable_compatibility_mode() leaves them, sorted by neuron_id. Empty with --no-weights.';
COMMENT ON COLUMN neuron_weight.neuron_id IS 'Neuron.';
COMMENT ON COLUMN neuron_weight.w_in IS 'Input weights, [d_model]: norm gain folded; centred for LayerNorm.';
COMMENT ON COLUMN neuron_weight.w_out IS 'Output weights (row of W_out), [d_model]: centred for LayerNorm.';
COMMENT ON COLUMN neuron_weight.w_gate IS 'Gate weights, [d_model]: norm gain folded. NULL: the MLP is not gated.';

CREATE TABLE token_weight (
    token_id INTEGER NOT NULL,
    readout FLOAT[{d_model}] NOT NULL
);
COMMENT ON TABLE token_weight IS 'The readout column of each token, sorted by token_id. Empty with --no-weights.';
COMMENT ON COLUMN token_weight.token_id IS 'Token.';
COMMENT ON COLUMN token_weight.readout IS 'Readout column, [d_model] (see atlas.readout): its dot product with w_out is the congruence.';

-- ---------------------------------------------------------------------------------------------------------------
-- Views for people: ids resolved to names
-- ---------------------------------------------------------------------------------------------------------------

CREATE VIEW congruence AS
SELECT n.name AS neuron, n.layer, n."index", nt.direction, nt.rank, t."text" AS token, nt.token_id, nt.congruence
FROM neuron_token AS nt
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id);
COMMENT ON VIEW congruence IS 'Which tokens is a neuron congruent with; which neurons are congruent with a token (among each neuron''s top and bottom tokens; token_neuron has the token''s own list).';
COMMENT ON COLUMN congruence.neuron IS 'Neuron name, as in L31N892.';
COMMENT ON COLUMN congruence.layer IS 'Block, from 0.';
COMMENT ON COLUMN congruence."index" IS 'Hidden unit within the layer, from 0.';
COMMENT ON COLUMN congruence.direction IS '''top'' or ''bottom''.';
COMMENT ON COLUMN congruence.rank IS 'Place among the neuron''s tokens in that direction, from 1.';
COMMENT ON COLUMN congruence.token IS 'Text of the token, leading space kept. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN congruence.token_id IS 'Token.';
COMMENT ON COLUMN congruence.congruence IS 'w_out . readout column.';

CREATE VIEW pair AS
SELECT n.name AS neuron, t."text" AS token, p.direction, p.rank, p.congruence, p.token_gap, p.neuron_gap, p.score,
       p.neuron_id, p.token_id, t.special, t.n_actual, t.n_predicted
FROM exclusive_pair AS p
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id);
COMMENT ON VIEW pair IS 'Exclusive pairs: a neuron and a token that are each other''s best (or worst).';
COMMENT ON COLUMN pair.neuron IS 'Neuron name.';
COMMENT ON COLUMN pair.token IS 'Text of the token, leading space kept. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN pair.direction IS '''top'' or ''bottom''.';
COMMENT ON COLUMN pair.rank IS 'Place by score within the direction, from 1.';
COMMENT ON COLUMN pair.congruence IS 'Their congruence.';
COMMENT ON COLUMN pair.token_gap IS 'Lead of this token over the neuron''s next.';
COMMENT ON COLUMN pair.neuron_gap IS 'Lead of this neuron over the token''s next.';
COMMENT ON COLUMN pair.score IS 'token_gap * neuron_gap.';
COMMENT ON COLUMN pair.neuron_id IS 'Neuron.';
COMMENT ON COLUMN pair.token_id IS 'Token.';
COMMENT ON COLUMN pair.special IS 'Whether the token is special; pages leave those out.';
COMMENT ON COLUMN pair.n_actual IS 'Counted positions after which the token really comes next; pages leave out 0.';
COMMENT ON COLUMN pair.n_predicted IS 'Counted positions at which the token is the top prediction.';

CREATE VIEW token_exclusivity AS
SELECT t."text" AS token, n.name AS neuron, m.name AS second_neuron, t.best_congruence AS congruence, t.neuron_gap,
       t.token_id, t.special, t.n_actual, t.n_predicted
FROM token AS t
JOIN neuron AS n ON n.neuron_id = t.best_neuron_id
LEFT JOIN token_neuron AS s ON s.token_id = t.token_id AND s.direction = 'top' AND s.rank = 2
LEFT JOIN neuron AS m ON m.neuron_id = s.neuron_id;
COMMENT ON VIEW token_exclusivity IS 'How far each token''s best neuron leads the second.';
COMMENT ON COLUMN token_exclusivity.token IS 'Text of the token, leading space kept. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN token_exclusivity.neuron IS 'Its best neuron.';
COMMENT ON COLUMN token_exclusivity.second_neuron IS 'Its second best neuron. NULL: the model has one neuron.';
COMMENT ON COLUMN token_exclusivity.congruence IS 'Congruence with the best neuron.';
COMMENT ON COLUMN token_exclusivity.neuron_gap IS 'Best minus second best congruence, over all neurons. NULL: the model has one neuron.';
COMMENT ON COLUMN token_exclusivity.token_id IS 'Token.';
COMMENT ON COLUMN token_exclusivity.special IS 'Whether the token is special.';
COMMENT ON COLUMN token_exclusivity.n_actual IS 'Counted positions after which it really comes next.';
COMMENT ON COLUMN token_exclusivity.n_predicted IS 'Counted positions at which it is the top prediction.';

CREATE VIEW prediction_curve AS
SELECT n.name AS neuron, t."text" AS token, b.lower, b.upper, h.n,
       coalesce(p.n_predicted, 0) AS n_predicted, coalesce(p.n_actual, 0) AS n_actual,
       coalesce(p.n_predicted, 0) / h.n AS predicted_fraction, coalesce(p.n_actual, 0) / h.n AS actual_fraction,
       c.neuron_id, c.token_id, h.bin
FROM candidate_pair AS c
JOIN activation_histogram AS h ON h.neuron_id = c.neuron_id
JOIN histogram_bin AS b ON b.bin = h.bin
JOIN neuron AS n ON n.neuron_id = c.neuron_id
JOIN token AS t ON t.token_id = c.token_id
LEFT JOIN prediction_histogram AS p ON p.neuron_id = c.neuron_id AND p.token_id = c.token_id AND p.bin = h.bin;
COMMENT ON VIEW prediction_curve IS 'Proportion predicted (and actual) against activation, for every candidate pair and every bin its neuron''s activation falls in.';
COMMENT ON COLUMN prediction_curve.neuron IS 'Neuron name.';
COMMENT ON COLUMN prediction_curve.token IS 'Text of the token, leading space kept. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN prediction_curve.lower IS 'Least activation in the bin.';
COMMENT ON COLUMN prediction_curve.upper IS 'Activations in the bin are below this.';
COMMENT ON COLUMN prediction_curve.n IS 'Counted positions in the bin.';
COMMENT ON COLUMN prediction_curve.n_predicted IS 'Of those, positions at which the token is the top prediction.';
COMMENT ON COLUMN prediction_curve.n_actual IS 'Of those, positions after which the token really comes next.';
COMMENT ON COLUMN prediction_curve.predicted_fraction IS 'n_predicted / n, 0 to 1.';
COMMENT ON COLUMN prediction_curve.actual_fraction IS 'n_actual / n, 0 to 1. The last position of each text is in n though it has no next token.';
COMMENT ON COLUMN prediction_curve.neuron_id IS 'Neuron.';
COMMENT ON COLUMN prediction_curve.token_id IS 'Token.';
COMMENT ON COLUMN prediction_curve.bin IS 'Bin (see histogram_bin).';

-- Token ids are dense, so the vocabulary as one list turns ids into texts by position: a join of every window with
-- `token` would take minutes for one neuron.
CREATE VIEW max_activating_example AS
WITH vocabulary AS (SELECT list(coalesce("text", '') ORDER BY token_id) AS texts FROM token)
SELECT n.name AS neuron, e.kind, e."interval", e.rank, e.activation,
       v.texts[x.token_ids[e.position + 1] + 1] AS token,
       array_to_string([v.texts[i + 1] FOR i IN x.token_ids[e.window_start + 1:e.position]], '') AS before,
       array_to_string([v.texts[i + 1] FOR i IN
                        x.token_ids[e.position + 2:e.window_start + len(e.window_activations)]], '') AS after,
       p."text" AS predicted,
       [v.texts[i + 1] FOR i IN x.token_ids[e.window_start + 1:e.window_start + len(e.window_activations)]] AS tokens,
       [a * e.window_scale FOR a IN e.window_activations] AS activations,
       e.neuron_id, e.text_id, e.position, e.window_start
FROM example AS e
JOIN neuron AS n USING (neuron_id)
JOIN token AS p ON p.token_id = e.predicted_token_id
JOIN "text" AS x USING (text_id),
vocabulary AS v;
COMMENT ON VIEW max_activating_example IS 'The texts that fire a neuron most (kind ''max''), least (''min'', gated models) and in between (''interval''), with their tokens and the activation at each.';
COMMENT ON COLUMN max_activating_example.neuron IS 'Neuron name.';
COMMENT ON COLUMN max_activating_example.kind IS '''max'', ''min'' or ''interval''.';
COMMENT ON COLUMN max_activating_example."interval" IS 'Octave of the text''s maximum (see histogram_bin.interval). NULL unless kind is ''interval''.';
COMMENT ON COLUMN max_activating_example.rank IS 'Place within kind (and interval), from 1.';
COMMENT ON COLUMN max_activating_example.activation IS 'Activation at the token, exact.';
COMMENT ON COLUMN max_activating_example.token IS 'The token that fires the neuron.';
COMMENT ON COLUMN max_activating_example.before IS 'Text of the window before the token.';
COMMENT ON COLUMN max_activating_example.after IS 'Text of the window after the token.';
COMMENT ON COLUMN max_activating_example.predicted IS 'The model''s top prediction at the token. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN max_activating_example.tokens IS 'Tokens of the window, as text.';
COMMENT ON COLUMN max_activating_example.activations IS 'Activation at each token of the window, to 1 part in 65534 of the window''s greatest.';
COMMENT ON COLUMN max_activating_example.neuron_id IS 'Neuron.';
COMMENT ON COLUMN max_activating_example.text_id IS 'Text.';
COMMENT ON COLUMN max_activating_example.position IS 'Position of the token in the text, BOS being 0.';
COMMENT ON COLUMN max_activating_example.window_start IS 'Position of the window''s first token.';

CREATE VIEW neuron_page AS
SELECT n.name AS neuron, n.layer, n."index", n.best_congruence, n.token_gap, n.worst_congruence, n.token_gap_bottom,
       n.activation_mean, n.activation_std, n.activation_min, n.activation_max, n.positive_fraction, n.dead,
       best.tokens AS best_tokens, best.congruences AS best_congruences,
       worst.tokens AS worst_tokens, worst.congruences AS worst_congruences,
       bars.histogram, pairs.exclusive_pairs, shown.examples, n.neuron_id
FROM neuron AS n
LEFT JOIN (
    SELECT nt.neuron_id, list(t."text" ORDER BY nt.rank) AS tokens, list(nt.congruence ORDER BY nt.rank) AS congruences
    FROM neuron_token AS nt JOIN token AS t USING (token_id) WHERE nt.direction = 'top' GROUP BY nt.neuron_id
) AS best USING (neuron_id)
LEFT JOIN (
    SELECT nt.neuron_id, list(t."text" ORDER BY nt.rank) AS tokens, list(nt.congruence ORDER BY nt.rank) AS congruences
    FROM neuron_token AS nt JOIN token AS t USING (token_id) WHERE nt.direction = 'bottom' GROUP BY nt.neuron_id
) AS worst USING (neuron_id)
LEFT JOIN (
    SELECT h.neuron_id, list({'lower': b.lower, 'upper': b.upper, 'n': h.n} ORDER BY b.bin) AS histogram
    FROM activation_histogram AS h JOIN histogram_bin AS b USING (bin) GROUP BY h.neuron_id
) AS bars USING (neuron_id)
LEFT JOIN (
    SELECT p.neuron_id,
           list({'token': t."text", 'direction': p.direction, 'rank': p.rank, 'score': p.score}
                ORDER BY p.direction DESC) AS exclusive_pairs
    FROM exclusive_pair AS p JOIN token AS t USING (token_id) GROUP BY p.neuron_id
) AS pairs USING (neuron_id)
LEFT JOIN (
    SELECT neuron_id,
           list({'kind': kind, 'rank': rank, 'activation': activation, 'text_id': text_id, 'position': position}
                ORDER BY kind, "interval", rank) AS examples
    FROM example GROUP BY neuron_id
) AS shown USING (neuron_id);
COMMENT ON VIEW neuron_page IS 'A row a neuron, with its lists inside: what a neuron page shows. Filter by neuron_id for an answer in milliseconds; by name it takes seconds.';
COMMENT ON COLUMN neuron_page.neuron IS 'Neuron name.';
COMMENT ON COLUMN neuron_page.layer IS 'Block, from 0.';
COMMENT ON COLUMN neuron_page."index" IS 'Hidden unit within the layer, from 0.';
COMMENT ON COLUMN neuron_page.best_congruence IS 'Congruence with its best token.';
COMMENT ON COLUMN neuron_page.token_gap IS 'Best minus second best congruence, over tokens. NULL: the vocabulary has one token.';
COMMENT ON COLUMN neuron_page.worst_congruence IS 'Congruence with its worst token.';
COMMENT ON COLUMN neuron_page.token_gap_bottom IS 'Second lowest minus lowest congruence, over tokens. NULL: the vocabulary has one token.';
COMMENT ON COLUMN neuron_page.activation_mean IS 'Mean activation over counted positions.';
COMMENT ON COLUMN neuron_page.activation_std IS 'Standard deviation of the activation.';
COMMENT ON COLUMN neuron_page.activation_min IS 'Least activation.';
COMMENT ON COLUMN neuron_page.activation_max IS 'Greatest activation.';
COMMENT ON COLUMN neuron_page.positive_fraction IS 'Fraction of counted positions with activation > 0.';
COMMENT ON COLUMN neuron_page.dead IS 'Whether every counted activation lies in the zero bin.';
COMMENT ON COLUMN neuron_page.best_tokens IS 'Texts of the tokens it is most congruent with, best first.';
COMMENT ON COLUMN neuron_page.best_congruences IS 'Their congruences.';
COMMENT ON COLUMN neuron_page.worst_tokens IS 'Texts of the tokens it is least congruent with, worst first.';
COMMENT ON COLUMN neuron_page.worst_congruences IS 'Their congruences.';
COMMENT ON COLUMN neuron_page.histogram IS 'Activation histogram: lower, upper, n of each bin that is not empty.';
COMMENT ON COLUMN neuron_page.exclusive_pairs IS 'Exclusive pairs it is in: token, direction, rank, score. NULL: none.';
COMMENT ON COLUMN neuron_page.examples IS 'Texts that fire it: kind, rank, activation, text_id, position.';
COMMENT ON COLUMN neuron_page.neuron_id IS 'Neuron.';
