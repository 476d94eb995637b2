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
    n_texts_planned BIGINT,
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
COMMENT ON COLUMN atlas.build_id IS 'Identity of the content: 12 hex digits of a hash over every row of every table; built_at and command are left out, so the same inputs give the same build_id. While n_texts_planned is not NULL, the first 6 digits are those of the run, the same in every file that it writes before it is complete.';
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
COMMENT ON COLUMN atlas.dataset_name IS 'The dataset as it was asked for (hub id, file name, ''pydoc''), or what it is and its licence, where a package carries it.';
COMMENT ON COLUMN atlas.dataset_config IS 'Configuration of the hub dataset. NULL: none was named.';
COMMENT ON COLUMN atlas.dataset_split IS 'Split of the dataset. NULL: the source has no splits.';
COMMENT ON COLUMN atlas.dataset_fingerprint IS 'Hash of the dataset''s texts in order (xxh3-128, 32 hex digits); for a streamed dataset, of its name, configuration, split, text column and revision.';
COMMENT ON COLUMN atlas.text_column IS 'Column of the dataset that was read.';
COMMENT ON COLUMN atlas.n_texts IS 'Texts run through the model (chunks count one each).';
COMMENT ON COLUMN atlas.n_texts_planned IS 'Texts of the whole run, in a file written before all were read (`atlas ingest --publish-every`): its counts will grow. Estimated from the rows read so far where the number of texts is not known beforehand. NULL: the run is complete.';
COMMENT ON COLUMN atlas.n_positions IS 'Positions counted: every neuron''s activation histogram sums to this.';
COMMENT ON COLUMN atlas.first_text IS 'text_id of the first text run: 0 unless --texts chose a part of the dataset.';
COMMENT ON COLUMN atlas.text_ranges IS 'Which texts of the dataset were run: A:B for text_id A up to but not including B; several, comma-separated and ascending, where parts that do not adjoin were merged. While n_texts_planned is not NULL: the range that the run reads, of which n_texts are done.';
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
    dead BOOLEAN NOT NULL,
    unembedding_null_fraction FLOAT,
    entropy_change DOUBLE,
    entropy_change_by_norm DOUBLE,
    unigram_divergence_change DOUBLE,
    n_ablated INTEGER
);
COMMENT ON TABLE neuron IS 'Every MLP neuron, a row each, sorted by neuron_id.';
COMMENT ON COLUMN neuron.neuron_id IS 'layer * d_mlp + index.';
COMMENT ON COLUMN neuron.layer IS 'Block, from 0.';
COMMENT ON COLUMN neuron."index" IS 'Hidden unit within the layer''s MLP, from 0.';
COMMENT ON COLUMN neuron.name IS 'L{layer}N{index}, as in L31N892.';
COMMENT ON COLUMN neuron.w_in_norm IS 'Euclidean norm of its input weights (norm gain folded; centred for LayerNorm).';
COMMENT ON COLUMN neuron.w_gate_norm IS 'Euclidean norm of its gate weights (norm gain folded). NULL: the MLP is not gated.';
COMMENT ON COLUMN neuron.w_out_norm IS 'Euclidean norm of its output weights (neuron_weight.w_out).';
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
COMMENT ON COLUMN neuron.unembedding_null_fraction IS 'Share of the squared norm of w_out in the smallest singular directions of the readout, d_model / 100 of them (rounded down, at least 1), 0 to 1: what it writes there changes the scale of the final norm and hardly any logit. Where LayerNorm removes the mean, the direction of the mean is one of them, and its share is 0. NULL: its output weights are zero.';
COMMENT ON COLUMN neuron.entropy_change IS 'Mean change of the entropy of the prediction (nats) when the neuron is set to activation_mean, over the positions of a sample where it fires (its activation is outside the zero bin): above 0, the neuron makes the model surer there. The sample is 4,096 positions in texts chosen by hash, of which the first 256 tokens are read. The mean is that of a first-order estimate, over all of these positions, plus the mean error of the estimate where it is checked exactly (n_ablated): the final norm is scaled anew and the logits are computed again. NULL: of another layer than the last, or n_ablated is 0 or NULL.';
COMMENT ON COLUMN neuron.entropy_change_by_norm IS 'The same if only the scale of the final norm changes as it does then (nats). NULL: as entropy_change.';
COMMENT ON COLUMN neuron.unigram_divergence_change IS 'Mean change of the Kullback-Leibler divergence of the prediction from the unigram distribution (nats), over the same positions: above 0, the neuron draws the prediction towards the frequencies of tokens. The unigram distribution is (token.n_actual + 1) over its sum. NULL: as entropy_change.';
COMMENT ON COLUMN neuron.n_ablated IS 'Positions at which the neuron was ablated exactly, at most 64: the 32 at which its activation is farthest from its mean, and others drawn at random, which stand for the rest. NULL: of another layer than the last, or `atlas attribute` was not run.';

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

CREATE TABLE neuron_downstream (
    neuron_id INTEGER USING COMPRESSION rle NOT NULL,
    side VARCHAR NOT NULL,
    direction VARCHAR NOT NULL,
    rank SMALLINT USING COMPRESSION bitpacking NOT NULL,
    other_neuron_id INTEGER USING COMPRESSION bitpacking NOT NULL,
    weight FLOAT USING COMPRESSION alprd NOT NULL
);
COMMENT ON TABLE neuron_downstream IS 'The neurons of later layers that read a neuron''s output weights most and least: 20 a side and direction, sorted by neuron_id, side, direction, rank. Weights alone; blocks between the two layers are not included. Only with atlas ingest --connections; empty otherwise. The last layer has no rows.';
COMMENT ON COLUMN neuron_downstream.neuron_id IS 'Neuron.';
COMMENT ON COLUMN neuron_downstream.side IS '''in'': the later neuron''s input weights read it. ''gate'' (gated models only): its gate does.';
COMMENT ON COLUMN neuron_downstream.direction IS '''top'': highest weight first. ''bottom'': lowest first.';
COMMENT ON COLUMN neuron_downstream.rank IS 'Place in that direction, from 1 to 20; ties by lower other_neuron_id.';
COMMENT ON COLUMN neuron_downstream.other_neuron_id IS 'Neuron of a later layer, which reads it.';
COMMENT ON COLUMN neuron_downstream.weight IS 'w_out of the earlier neuron . w_in or w_gate of the later one (neuron_weight): what one unit of the earlier activation adds to what the later neuron reads, directly and before the norm in front of it divides.';

CREATE TABLE neuron_upstream (
    neuron_id INTEGER USING COMPRESSION rle NOT NULL,
    side VARCHAR NOT NULL,
    direction VARCHAR NOT NULL,
    rank SMALLINT USING COMPRESSION bitpacking NOT NULL,
    other_neuron_id INTEGER USING COMPRESSION bitpacking NOT NULL,
    weight FLOAT USING COMPRESSION alprd NOT NULL
);
COMMENT ON TABLE neuron_upstream IS 'The neurons of earlier layers whose output weights a neuron reads most and least: 20 a side and direction, sorted by neuron_id, side, direction, rank. Weights alone; blocks between the two layers are not included. Only with atlas ingest --connections; empty otherwise. Layer 0 has no rows.';
COMMENT ON COLUMN neuron_upstream.neuron_id IS 'Neuron.';
COMMENT ON COLUMN neuron_upstream.side IS '''in'': its input weights read the other. ''gate'' (gated models only): its gate does.';
COMMENT ON COLUMN neuron_upstream.direction IS '''top'': highest weight first. ''bottom'': lowest first.';
COMMENT ON COLUMN neuron_upstream.rank IS 'Place in that direction, from 1 to 20; ties by lower other_neuron_id.';
COMMENT ON COLUMN neuron_upstream.other_neuron_id IS 'Neuron of an earlier layer, which writes to it.';
COMMENT ON COLUMN neuron_upstream.weight IS 'w_out of the earlier neuron . w_in or w_gate of the later one (neuron_weight): what one unit of the earlier activation adds to what the later neuron reads, directly and before the norm in front of it divides.';

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

CREATE TABLE sign_case (
    neuron_id INTEGER NOT NULL,
    gate_positive BOOLEAN NOT NULL,
    in_positive BOOLEAN NOT NULL,
    n BIGINT NOT NULL,
    activation_mean DOUBLE NOT NULL,
    activation_extreme FLOAT NOT NULL,
    text_id BIGINT NOT NULL,
    position INTEGER NOT NULL
);
COMMENT ON TABLE sign_case IS 'Gated models: a neuron''s activation is act(gate) * in; how often each of the four cases of their signs is, and how large. Only with atlas ingest --sign-cases; empty otherwise. Cases that never occur have no row. Sorted by neuron_id, gate_positive, in_positive.';
COMMENT ON COLUMN sign_case.neuron_id IS 'Neuron.';
COMMENT ON COLUMN sign_case.gate_positive IS 'Whether the gate''s pre-activation is above 0.';
COMMENT ON COLUMN sign_case.in_positive IS 'Whether the input side is above 0. The activation is >= 0 where both are alike.';
COMMENT ON COLUMN sign_case.n IS 'Counted positions (>= 1). A neuron''s rows sum to atlas.n_positions.';
COMMENT ON COLUMN sign_case.activation_mean IS 'Mean activation over them.';
COMMENT ON COLUMN sign_case.activation_extreme IS 'The activation of the greatest magnitude among them.';
COMMENT ON COLUMN sign_case.text_id IS 'Text in which that is (see text).';
COMMENT ON COLUMN sign_case.position IS 'Its position there, BOS being 0.';

CREATE TABLE activation_sum (
    neuron_id INTEGER NOT NULL,
    limbs BIGINT[] NOT NULL
);
COMMENT ON TABLE activation_sum IS 'Exact sums of the 1st to 4th powers of each neuron''s activations over counted positions, from which neuron.activation_mean, _std, _skewness and _kurtosis follow. They are in fixed point, so that parts add up to the bit in any order: what atlas merge adds. Sorted by neuron_id.';
COMMENT ON COLUMN activation_sum.neuron_id IS 'Neuron.';
COMMENT ON COLUMN activation_sum.limbs IS 'Sixteen numbers: four for each power, the lowest first. The sum of power k is 2^-72 * (limbs[4k - 3] + 2^36 * limbs[4k - 2] + 2^72 * limbs[4k - 1] + 2^108 * limbs[4k]).';

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

CREATE TABLE token_family (
    token_id INTEGER NOT NULL,
    family_id INTEGER NOT NULL
);
COMMENT ON TABLE token_family IS 'Tokens that differ in spelling alone ('' an'', ''an'', '' An'', ''An''): equal after stripping space at both ends and letter case. Sorted by token_id. A token without such relatives has no row.';
COMMENT ON COLUMN token_family.token_id IS 'Token.';
COMMENT ON COLUMN token_family.family_id IS 'Its family, called by the lowest token_id of its members.';

CREATE TABLE family_histogram (
    neuron_id INTEGER NOT NULL,
    family_id INTEGER NOT NULL,
    bin SMALLINT NOT NULL,
    n_predicted BIGINT NOT NULL,
    n_actual BIGINT NOT NULL
);
COMMENT ON TABLE family_histogram IS 'As prediction_histogram, for the family of each neuron''s best token (gated models: of its worst token too): how often any member is predicted, or really next. Cells with neither have no row, and families of one token have none: prediction_histogram has their pair. Sorted by neuron_id, family_id, bin.';
COMMENT ON COLUMN family_histogram.neuron_id IS 'Neuron.';
COMMENT ON COLUMN family_histogram.family_id IS 'Family of its best (or worst) token (see token_family).';
COMMENT ON COLUMN family_histogram.bin IS 'Bin of the neuron''s activation (see histogram_bin).';
COMMENT ON COLUMN family_histogram.n_predicted IS 'Counted positions in the bin at which a member is the model''s top prediction.';
COMMENT ON COLUMN family_histogram.n_actual IS 'Counted positions in the bin after which a member really comes next.';

-- How well activation predicts, of every candidate pair: computed from activation_histogram, prediction_histogram and
-- candidate_pair (atlas/metrics), at ingest, after a merge and by `atlas upgrade` alike.
CREATE TABLE pair_metric (
    neuron_id INTEGER USING COMPRESSION rle NOT NULL,
    token_id INTEGER USING COMPRESSION bitpacking NOT NULL,
    side VARCHAR NOT NULL,
    n_positions BIGINT NOT NULL,
    n_active BIGINT NOT NULL,
    n_predicted BIGINT NOT NULL,
    n_actual BIGINT NOT NULL,
    top_bin SMALLINT,
    top_bin_n BIGINT,
    base_rate_predicted FLOAT NOT NULL,
    auroc_predicted FLOAT,
    auroc_predicted_error FLOAT,
    average_precision_predicted FLOAT,
    average_precision_predicted_lower FLOAT,
    average_precision_predicted_upper FLOAT,
    best_threshold_predicted FLOAT,
    best_f1_predicted FLOAT,
    precision_predicted FLOAT,
    precision_predicted_low FLOAT,
    precision_predicted_high FLOAT,
    recall_predicted FLOAT,
    top_bin_predicted FLOAT,
    top_bin_predicted_low FLOAT,
    top_bin_predicted_high FLOAT,
    top_thousandth_predicted FLOAT,
    top_thousandth_predicted_lower FLOAT,
    top_thousandth_predicted_upper FLOAT,
    lift_predicted FLOAT,
    mutual_information_predicted FLOAT,
    slope_predicted FLOAT,
    monotonicity_predicted FLOAT,
    base_rate_actual FLOAT NOT NULL,
    auroc_actual FLOAT,
    auroc_actual_error FLOAT,
    average_precision_actual FLOAT,
    average_precision_actual_lower FLOAT,
    average_precision_actual_upper FLOAT,
    best_threshold_actual FLOAT,
    best_f1_actual FLOAT,
    precision_actual FLOAT,
    precision_actual_low FLOAT,
    precision_actual_high FLOAT,
    recall_actual FLOAT,
    top_bin_actual FLOAT,
    top_bin_actual_low FLOAT,
    top_bin_actual_high FLOAT,
    top_thousandth_actual FLOAT,
    top_thousandth_actual_lower FLOAT,
    top_thousandth_actual_upper FLOAT,
    lift_actual FLOAT,
    mutual_information_actual FLOAT,
    slope_actual FLOAT,
    monotonicity_actual FLOAT
);
COMMENT ON TABLE pair_metric IS 'How well a neuron''s activation predicts a token, for every candidate pair, from the histograms: sorted by neuron_id, token_id, side. All counted positions are ranked by a score, the activation (negative: minus it). In gated models, where the sign is a gauge, each side is judged by itself: positions at which the neuron does not fire on the side (activation in the zero bin or beyond it) tie as one silent level; every other bin is a level. Metrics are NULL where support is too small: fewer than 10 positions with the outcome, fewer than 10 without it, or n_active below 10. Bounds are rounded outwards.';
COMMENT ON COLUMN pair_metric.neuron_id IS 'Neuron.';
COMMENT ON COLUMN pair_metric.token_id IS 'Token.';
COMMENT ON COLUMN pair_metric.side IS '''positive'': a position''s score is its activation. ''negative'' (gated models only): minus its activation.';
COMMENT ON COLUMN pair_metric.n_positions IS 'Positions ranked: all that were counted (atlas.n_positions).';
COMMENT ON COLUMN pair_metric.n_active IS 'Of those, positions at which the neuron fires on the side, beyond the zero bin: activation >= 2^-6; negative: < -2^-6.';
COMMENT ON COLUMN pair_metric.n_predicted IS 'Positions at which the token is the model''s top prediction.';
COMMENT ON COLUMN pair_metric.n_actual IS 'Positions after which the token really comes next; the last position of a text has no next token and counts as without.';
COMMENT ON COLUMN pair_metric.top_bin IS 'The side''s outermost bin that is not empty (see histogram_bin). NULL: n_active is 0.';
COMMENT ON COLUMN pair_metric.top_bin_n IS 'Positions in it (>= 1). NULL: n_active is 0.';
COMMENT ON COLUMN pair_metric.base_rate_predicted IS 'n_predicted / n_positions, 0 to 1.';
COMMENT ON COLUMN pair_metric.auroc_predicted IS 'Area under the ROC curve of the score as a predictor of positions at which the token is the model''s top prediction, 0 to 1: the probability that such a position scores above another, ties counting half; so within a bin. 0.5: the score says nothing. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.auroc_predicted_error IS 'What binning leaves open: the area of the unbinned score lies within auroc_predicted plus or minus this (>= 0). NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.average_precision_predicted IS 'Average precision of the binned score as a predictor of positions at which the token is the model''s top prediction, 0 to 1: mean over those positions of the precision from their bin on. Chance gives base_rate_predicted. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.average_precision_predicted_lower IS 'Least that the average precision of the unbinned score can be, however positions are ordered within bins (positions of equal score enter together). NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.average_precision_predicted_upper IS 'Most that it can be. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.best_threshold_predicted IS 'The edge of a bin that parts positions best, by F1. Side ''positive'': the rule is activation >= it; ''negative'': activation < it. Of equals, the strongest. NULL: too little support (see the table), or all positions are in one level.';
COMMENT ON COLUMN pair_metric.best_f1_predicted IS 'F1 there: harmonic mean of precision and recall, 0 to 1; exact. NULL: as best_threshold_predicted.';
COMMENT ON COLUMN pair_metric.precision_predicted IS 'Proportion of the positions beyond best_threshold_predicted at which the token is the model''s top prediction, 0 to 1; exact. NULL: as best_threshold_predicted.';
COMMENT ON COLUMN pair_metric.precision_predicted_low IS 'Lower end of its 95% Wilson interval. NULL: as it. Positions of one text are not independent, so that true intervals are wider; so of all intervals here.';
COMMENT ON COLUMN pair_metric.precision_predicted_high IS 'Upper end of that interval. NULL: as it.';
COMMENT ON COLUMN pair_metric.recall_predicted IS 'Proportion of the n_predicted positions that lie beyond best_threshold_predicted, 0 to 1; exact. NULL: as best_threshold_predicted.';
COMMENT ON COLUMN pair_metric.top_bin_predicted IS 'Proportion of the top_bin_n positions at which the token is the model''s top prediction, 0 to 1. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_bin_predicted_low IS 'Lower end of its 95% Wilson interval. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_bin_predicted_high IS 'Upper end of that interval. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_thousandth_predicted IS 'Proportion of the 0.1% of positions of highest score (n_positions / 1000, rounded up) at which the token is the model''s top prediction, 0 to 1; spread evenly over the bin that the cut falls in. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_thousandth_predicted_lower IS 'Least that it can be, whichever positions of that bin are within. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_thousandth_predicted_upper IS 'Most that it can be. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.lift_predicted IS 'top_thousandth_predicted / base_rate_predicted (>= 0; 1: no more often than anywhere). NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.mutual_information_predicted IS 'Bits that the level of the score tells about whether the token is the model''s top prediction (0 to 1): at most what the score itself tells. The estimate is too high by about (levels - 1) / (1.4 n_positions). NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.slope_predicted IS 'Least-squares slope of the proportion of positions at which the token is the model''s top prediction against the score, bins weighted by positions and standing at their middles (outermost bins at their finite edge, the zero bin and the silent level at 0): probability per unit of activation. NULL: too little support (see the table), or all positions are in one level.';
COMMENT ON COLUMN pair_metric.monotonicity_predicted IS 'Share of the variance between levels (weighted by positions) that the nearest never-falling curve has (isotonic regression), 0 to 1. 1: the proportion only rises with the score; 0: it only falls. NULL: too little support (see the table), or the curve is flat.';
COMMENT ON COLUMN pair_metric.base_rate_actual IS 'n_actual / n_positions, 0 to 1.';
COMMENT ON COLUMN pair_metric.auroc_actual IS 'Area under the ROC curve of the score as a predictor of positions at which the token really comes next, 0 to 1: the probability that such a position scores above another, ties counting half; so within a bin. 0.5: the score says nothing. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.auroc_actual_error IS 'What binning leaves open: the area of the unbinned score lies within auroc_actual plus or minus this (>= 0). NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.average_precision_actual IS 'Average precision of the binned score as a predictor of positions at which the token really comes next, 0 to 1: mean over those positions of the precision from their bin on. Chance gives base_rate_actual. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.average_precision_actual_lower IS 'Least that the average precision of the unbinned score can be, however positions are ordered within bins (positions of equal score enter together). NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.average_precision_actual_upper IS 'Most that it can be. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.best_threshold_actual IS 'The edge of a bin that parts positions best, by F1. Side ''positive'': the rule is activation >= it; ''negative'': activation < it. Of equals, the strongest. NULL: too little support (see the table), or all positions are in one level.';
COMMENT ON COLUMN pair_metric.best_f1_actual IS 'F1 there: harmonic mean of precision and recall, 0 to 1; exact. NULL: as best_threshold_actual.';
COMMENT ON COLUMN pair_metric.precision_actual IS 'Proportion of the positions beyond best_threshold_actual at which the token really comes next, 0 to 1; exact. NULL: as best_threshold_actual.';
COMMENT ON COLUMN pair_metric.precision_actual_low IS 'Lower end of its 95% Wilson interval. NULL: as it. Positions of one text are not independent, so that true intervals are wider; so of all intervals here.';
COMMENT ON COLUMN pair_metric.precision_actual_high IS 'Upper end of that interval. NULL: as it.';
COMMENT ON COLUMN pair_metric.recall_actual IS 'Proportion of the n_actual positions that lie beyond best_threshold_actual, 0 to 1; exact. NULL: as best_threshold_actual.';
COMMENT ON COLUMN pair_metric.top_bin_actual IS 'Proportion of the top_bin_n positions at which the token really comes next, 0 to 1. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_bin_actual_low IS 'Lower end of its 95% Wilson interval. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_bin_actual_high IS 'Upper end of that interval. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_thousandth_actual IS 'Proportion of the 0.1% of positions of highest score (n_positions / 1000, rounded up) at which the token really comes next, 0 to 1; spread evenly over the bin that the cut falls in. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_thousandth_actual_lower IS 'Least that it can be, whichever positions of that bin are within. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.top_thousandth_actual_upper IS 'Most that it can be. NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.lift_actual IS 'top_thousandth_actual / base_rate_actual (>= 0; 1: no more often than anywhere). NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.mutual_information_actual IS 'Bits that the level of the score tells about whether the token really comes next (0 to 1): at most what the score itself tells. The estimate is too high by about (levels - 1) / (1.4 n_positions). NULL: too little support (see the table).';
COMMENT ON COLUMN pair_metric.slope_actual IS 'Least-squares slope of the proportion of positions at which the token really comes next against the score, bins weighted by positions and standing at their middles (outermost bins at their finite edge, the zero bin and the silent level at 0): probability per unit of activation. NULL: too little support (see the table), or all positions are in one level.';
COMMENT ON COLUMN pair_metric.monotonicity_actual IS 'Share of the variance between levels (weighted by positions) that the nearest never-falling curve has (isotonic regression), 0 to 1. 1: the proportion only rises with the score; 0: it only falls. NULL: too little support (see the table), or the curve is flat.';

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
COMMENT ON TABLE "text" IS 'The texts that an example or a sign case cites, sorted by text_id.';
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
COMMENT ON COLUMN neuron_weight.w_out IS 'Output weights, [d_model]: what one unit of activation adds to the residual stream, up to a positive scale that differs by position. The row of W_out; where a norm stands behind the MLP (Gemma 2 and 3, OLMo 2, GLM-4), times that norm''s gain; times a factor that the block puts on its MLP (Granite''s residual multiplier). Centred for LayerNorm.';
COMMENT ON COLUMN neuron_weight.w_gate IS 'Gate weights, [d_model]: norm gain folded. NULL: the MLP is not gated.';

CREATE TABLE token_weight (
    token_id INTEGER NOT NULL,
    readout FLOAT[{d_model}] NOT NULL
);
COMMENT ON TABLE token_weight IS 'The readout column of each token, sorted by token_id. Empty with --no-weights.';
COMMENT ON COLUMN token_weight.token_id IS 'Token.';
COMMENT ON COLUMN token_weight.readout IS 'Readout column, [d_model] (see atlas.readout): its dot product with w_out is the congruence.';

-- ---------------------------------------------------------------------------------------------------------------
-- Studies: recorded experiments on the model (`atlas study`), in the manner of "We Found An Neuron in GPT-2"
-- ---------------------------------------------------------------------------------------------------------------

CREATE TABLE study (
    name VARCHAR NOT NULL,
    made_at TIMESTAMP NOT NULL,
    clean VARCHAR NOT NULL,
    corrupt VARCHAR NOT NULL,
    answer_token_id INTEGER NOT NULL,
    other_token_id INTEGER NOT NULL,
    clean_logit_diff FLOAT NOT NULL,
    corrupt_logit_diff FLOAT NOT NULL,
    p_answer_clean FLOAT NOT NULL,
    p_answer_corrupt FLOAT NOT NULL,
    p_other_clean FLOAT NOT NULL,
    p_other_corrupt FLOAT NOT NULL,
    n_prompts INTEGER NOT NULL,
    from_end BOOLEAN NOT NULL,
    patched_layers INTEGER[] NOT NULL,
    found_neuron_ids INTEGER[] NOT NULL,
    versions JSON NOT NULL,
    command VARCHAR NOT NULL
);
COMMENT ON TABLE study IS 'Experiments on prompt pairs: a row each, sorted by name. Logits and probabilities are the model''s own, in float32. Empty: none was run (atlas study).';
COMMENT ON COLUMN study.name IS 'Name in URLs: [a-z0-9-]+.';
COMMENT ON COLUMN study.made_at IS 'When it was run, UTC.';
COMMENT ON COLUMN study.clean IS 'The clean prompt, after which the answer is expected. Of a suite: its first pair''s.';
COMMENT ON COLUMN study.corrupt IS 'The corrupt prompt, of as many tokens, after which the other token is expected. Of a suite: its first pair''s.';
COMMENT ON COLUMN study.answer_token_id IS 'The answer. Of a suite: its first pair''s.';
COMMENT ON COLUMN study.other_token_id IS 'The token it is weighed against. Of a suite: its first pair''s.';
COMMENT ON COLUMN study.clean_logit_diff IS 'logit(answer) - logit(other) after the clean prompt. Of a suite: the mean over its pairs; so the next five.';
COMMENT ON COLUMN study.corrupt_logit_diff IS 'The same after the corrupt prompt.';
COMMENT ON COLUMN study.p_answer_clean IS 'Probability of the answer after the clean prompt, 0 to 1.';
COMMENT ON COLUMN study.p_answer_corrupt IS 'Probability of the answer after the corrupt prompt.';
COMMENT ON COLUMN study.p_other_clean IS 'Probability of the other token after the clean prompt.';
COMMENT ON COLUMN study.p_other_corrupt IS 'Probability of the other token after the corrupt prompt.';
COMMENT ON COLUMN study.n_prompts IS 'Prompt pairs (>= 1; more than one in a suite).';
COMMENT ON COLUMN study.from_end IS 'Whether positions in study_step are counted back from the last token, -1 being the last: in suites whose pairs differ in length.';
COMMENT ON COLUMN study.patched_layers IS 'Layers all of whose neurons were patched one by one. Empty: only the neurons of greatest |attribution| in the whole model were.';
COMMENT ON COLUMN study.found_neuron_ids IS 'The neurons that stood out in patching, most recovering first and those that take most away last: those that were ablated. May be empty.';
COMMENT ON COLUMN study.versions IS 'Versions of the program and libraries that ran it, JSON.';
COMMENT ON COLUMN study.command IS 'Command line that ran it.';

CREATE TABLE study_prompt (
    study VARCHAR NOT NULL,
    prompt INTEGER NOT NULL,
    clean VARCHAR NOT NULL,
    corrupt VARCHAR NOT NULL,
    clean_token_ids INTEGER[] NOT NULL,
    corrupt_token_ids INTEGER[] NOT NULL,
    answer_token_id INTEGER NOT NULL,
    other_token_id INTEGER NOT NULL,
    clean_logit_diff FLOAT NOT NULL,
    corrupt_logit_diff FLOAT NOT NULL,
    p_answer_clean FLOAT NOT NULL,
    p_answer_corrupt FLOAT NOT NULL,
    p_other_clean FLOAT NOT NULL,
    p_other_corrupt FLOAT NOT NULL
);
COMMENT ON TABLE study_prompt IS 'The prompt pairs of each study, sorted by study, prompt.';
COMMENT ON COLUMN study_prompt.study IS 'Study (study.name).';
COMMENT ON COLUMN study_prompt.prompt IS 'Place of the pair in its suite, from 0.';
COMMENT ON COLUMN study_prompt.clean IS 'The clean prompt.';
COMMENT ON COLUMN study_prompt.corrupt IS 'The corrupt prompt.';
COMMENT ON COLUMN study_prompt.clean_token_ids IS 'The clean prompt as tokens, BOS included where the model has one.';
COMMENT ON COLUMN study_prompt.corrupt_token_ids IS 'The corrupt prompt as tokens: as many.';
COMMENT ON COLUMN study_prompt.answer_token_id IS 'The answer.';
COMMENT ON COLUMN study_prompt.other_token_id IS 'The token it is weighed against.';
COMMENT ON COLUMN study_prompt.clean_logit_diff IS 'logit(answer) - logit(other) after the clean prompt.';
COMMENT ON COLUMN study_prompt.corrupt_logit_diff IS 'The same after the corrupt prompt.';
COMMENT ON COLUMN study_prompt.p_answer_clean IS 'Probability of the answer after the clean prompt, 0 to 1.';
COMMENT ON COLUMN study_prompt.p_answer_corrupt IS 'Probability of the answer after the corrupt prompt.';
COMMENT ON COLUMN study_prompt.p_other_clean IS 'Probability of the other token after the clean prompt.';
COMMENT ON COLUMN study_prompt.p_other_corrupt IS 'Probability of the other token after the corrupt prompt.';

CREATE TABLE study_prediction (
    study VARCHAR NOT NULL,
    prompt INTEGER NOT NULL,
    side VARCHAR NOT NULL,
    rank INTEGER NOT NULL,
    token_id INTEGER NOT NULL,
    logit FLOAT NOT NULL,
    probability FLOAT NOT NULL
);
COMMENT ON TABLE study_prediction IS 'What the model predicts after each prompt: its ten best tokens, the answer and the other token. Sorted by study, prompt, side, rank.';
COMMENT ON COLUMN study_prediction.study IS 'Study.';
COMMENT ON COLUMN study_prediction.prompt IS 'Pair (see study_prompt).';
COMMENT ON COLUMN study_prediction.side IS '''clean'' or ''corrupt''.';
COMMENT ON COLUMN study_prediction.rank IS 'Place of the token among all, from 1.';
COMMENT ON COLUMN study_prediction.token_id IS 'Token.';
COMMENT ON COLUMN study_prediction.logit IS 'Its logit.';
COMMENT ON COLUMN study_prediction.probability IS 'Its probability, 0 to 1.';

CREATE TABLE study_step (
    study VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    variant VARCHAR,
    site VARCHAR,
    layer INTEGER,
    position INTEGER,
    neuron_id INTEGER,
    value FLOAT NOT NULL,
    low FLOAT,
    high FLOAT,
    n_prompts INTEGER NOT NULL
);
COMMENT ON TABLE study_step IS 'Every number a study measured; heat maps are rows. Sorted by study, kind, variant, site, layer, position, neuron_id.';
COMMENT ON COLUMN study_step.study IS 'Study.';
COMMENT ON COLUMN study_step.kind IS '''logit_lens'': logit(answer) - logit(other) read from the residual stream at the last position of the clean prompt. ''patch_resid_pre'', ''patch_attn_out'', ''patch_mlp_out'': one (layer, position) of the corrupt run replaced by the clean run''s. ''patch_neuron'': one neuron replaced at all positions, of the neurons of greatest |attribution|. ''attribution'': an estimate of that for every neuron: (clean - corrupt activation) times the gradient of the logit difference in the corrupt run, summed over positions. ''direct_effect'': what a neuron adds to the logit difference at the last position by itself. ''ablation'': found neurons changed at all positions but BOS in the clean run.';
COMMENT ON COLUMN study_step.variant IS 'logit_lens: ''own_norm'' (the final norm applied at the site) or ''final_norm'' (the scale that it has at the end). direct_effect: ''clean'' or ''corrupt''. ablation: ''zero'', ''mean'' (neuron.activation_mean) or ''negate''. NULL: patching and attribution have no variants.';
COMMENT ON COLUMN study_step.site IS 'logit_lens: ''pre'' (before the block), ''mid'' (after attention) or ''post'' (after the last block). NULL: other kinds.';
COMMENT ON COLUMN study_step.layer IS 'Block, from 0. NULL: found neurons ablated together.';
COMMENT ON COLUMN study_step.position IS 'Position, 0 is BOS; negative: counted from the end (see study.from_end). NULL: all positions.';
COMMENT ON COLUMN study_step.neuron_id IS 'Neuron. NULL: the step is no neuron''s, or that of all found neurons together.';
COMMENT ON COLUMN study_step.value IS 'logit_lens, direct_effect: logits. patch_*, attribution: relative logit-difference recovery, (patched - corrupt) / (clean - corrupt): 0 as corrupt, 1 as clean; may lie outside. ablation: change in the answer''s probability, after minus before. Of a suite: the mean over its pairs.';
COMMENT ON COLUMN study_step.low IS 'Lower end of the 95% bootstrap interval of the mean over the pairs of a suite. NULL: one pair.';
COMMENT ON COLUMN study_step.high IS 'Upper end of that interval. NULL: one pair.';
COMMENT ON COLUMN study_step.n_prompts IS 'Pairs the value is a mean over.';

CREATE TABLE study_edge (
    study VARCHAR NOT NULL,
    source_neuron_id INTEGER NOT NULL,
    target_neuron_id INTEGER NOT NULL,
    estimate FLOAT NOT NULL,
    exact FLOAT
);
COMMENT ON TABLE study_edge IS 'How a study''s found neurons act through each other: every found neuron with every found one of a later layer. Sorted by study, source_neuron_id, target_neuron_id.';
COMMENT ON COLUMN study_edge.study IS 'Study.';
COMMENT ON COLUMN study_edge.source_neuron_id IS 'The earlier neuron.';
COMMENT ON COLUMN study_edge.target_neuron_id IS 'The later neuron.';
COMMENT ON COLUMN study_edge.estimate IS 'The part of the source''s attribution that goes through the target, as a relative logit-difference recovery: the source''s change from corrupt to clean, times the gradient of the target''s activation with respect to the source''s, times that of the logit difference with respect to the target''s, in the corrupt run, summed over positions of both. Of a suite: the mean over its pairs.';
COMMENT ON COLUMN study_edge.exact IS 'The recovery if in the corrupt run the target alone takes the activations that it has when the source is patched. Of a suite: the mean over its pairs. NULL: not measured; the ten edges of greatest |estimate| are.';

-- ---------------------------------------------------------------------------------------------------------------
-- Effects: what neurons do where they fire (`atlas effects`)
-- ---------------------------------------------------------------------------------------------------------------

CREATE TABLE neuron_attribution (
    neuron_id INTEGER NOT NULL,
    n_positions BIGINT NOT NULL,
    attribution_mean DOUBLE NOT NULL,
    attribution_abs_mean DOUBLE NOT NULL,
    direct_mean DOUBLE NOT NULL,
    direct_abs_mean DOUBLE NOT NULL
);
COMMENT ON TABLE neuron_attribution IS 'How much each neuron does for what the model predicts, over positions of texts chosen by a hash: z is the logit of the top prediction less the mean logit of the vocabulary, and a neuron''s attribution at a position (activation - neuron.activation_mean) * dz/d(activation), the derivative taken through that position''s own residual stream with the keys and values of attention held constant. An estimate, to first order, of how far z falls if the neuron is set to its mean (see attribution_check). Only for files that `atlas attribute` extended; empty otherwise. Sorted by neuron_id.';
COMMENT ON COLUMN neuron_attribution.neuron_id IS 'Neuron.';
COMMENT ON COLUMN neuron_attribution.n_positions IS 'Positions that were read (>= 1), the same for all neurons.';
COMMENT ON COLUMN neuron_attribution.attribution_mean IS 'Mean attribution, logits. Above 0: on the mean it supports what is predicted.';
COMMENT ON COLUMN neuron_attribution.attribution_abs_mean IS 'Mean magnitude of the attribution, logits (>= 0).';
COMMENT ON COLUMN neuron_attribution.direct_mean IS 'Mean direct part, logits: (activation - neuron.activation_mean) * congruence with the predicted token / scale of the final norm (and of the norm behind the MLP, where the model has one).';
COMMENT ON COLUMN neuron_attribution.direct_abs_mean IS 'Mean magnitude of the direct part, logits (>= 0).';

CREATE TABLE token_driver (
    token_id INTEGER NOT NULL,
    direction VARCHAR NOT NULL,
    "rank" SMALLINT NOT NULL,
    neuron_id INTEGER NOT NULL,
    n BIGINT NOT NULL,
    attribution FLOAT NOT NULL,
    direct FLOAT NOT NULL,
    standard_error FLOAT
);
COMMENT ON TABLE token_driver IS 'What makes the model say a token: for each of the tokens predicted most (at 10 positions or more of the texts read), the 50 neurons of greatest and of least mean attribution over the positions that predict it (see neuron_attribution). Lists hold only means above 0 (top) and below 0 (bottom), so they may be shorter. Empty unless `atlas attribute` was run. Sorted by token_id, direction, rank.';
COMMENT ON COLUMN token_driver.token_id IS 'Token.';
COMMENT ON COLUMN token_driver.direction IS '''top'': supports the prediction, greatest mean first. ''bottom'': opposes it, least first.';
COMMENT ON COLUMN token_driver."rank" IS 'Place in the list, from 1; equal means by lower neuron_id.';
COMMENT ON COLUMN token_driver.neuron_id IS 'Neuron.';
COMMENT ON COLUMN token_driver.n IS 'Positions that predict the token (>= 10).';
COMMENT ON COLUMN token_driver.attribution IS 'Mean attribution over them, logits.';
COMMENT ON COLUMN token_driver.direct IS 'Mean direct part over them, logits (see neuron_attribution.direct_mean).';
COMMENT ON COLUMN token_driver.standard_error IS 'Standard error of the mean attribution, with texts as clusters (>= 0), logits. NULL: all positions are of one text.';

CREATE TABLE pair_attribution (
    neuron_id INTEGER USING COMPRESSION rle NOT NULL,
    token_id INTEGER NOT NULL,
    n BIGINT NOT NULL,
    attribution FLOAT NOT NULL,
    direct FLOAT NOT NULL,
    standard_error FLOAT
);
COMMENT ON TABLE pair_attribution IS 'What the neuron of each candidate pair does where its token is predicted: means over those positions (see neuron_attribution). Pairs whose token is predicted nowhere in the texts read have no row. Empty unless `atlas attribute` was run. Sorted by neuron_id, token_id.';
COMMENT ON COLUMN pair_attribution.neuron_id IS 'Neuron.';
COMMENT ON COLUMN pair_attribution.token_id IS 'Token.';
COMMENT ON COLUMN pair_attribution.n IS 'Positions that predict the token (>= 1).';
COMMENT ON COLUMN pair_attribution.attribution IS 'Mean attribution over them, logits.';
COMMENT ON COLUMN pair_attribution.direct IS 'Mean direct part over them, logits.';
COMMENT ON COLUMN pair_attribution.standard_error IS 'Standard error of the mean attribution, with texts as clusters (>= 0), logits. NULL: all positions are of one text.';

CREATE TABLE attribution_check (
    neuron_id INTEGER NOT NULL,
    token_id INTEGER NOT NULL,
    text_id BIGINT NOT NULL,
    position INTEGER NOT NULL,
    estimate FLOAT NOT NULL,
    exact FLOAT,
    exact_full FLOAT NOT NULL
);
COMMENT ON TABLE attribution_check IS 'Attributions beside what they estimate: one neuron at one position set to its mean, and how far the score of the token predicted there falls (its logit less the mean logit). Half of them are each the strongest attribution of a position drawn at random, half are of neurons and positions drawn at random. Empty unless `atlas attribute` was run. Sorted by neuron_id, token_id, text_id, position.';
COMMENT ON COLUMN attribution_check.neuron_id IS 'Neuron.';
COMMENT ON COLUMN attribution_check.token_id IS 'Token that is predicted there.';
COMMENT ON COLUMN attribution_check.text_id IS 'Text, by its id in the dataset (which need not be in the table text).';
COMMENT ON COLUMN attribution_check.position IS 'Position in it, BOS being 0.';
COMMENT ON COLUMN attribution_check.estimate IS 'Attribution, logits.';
COMMENT ON COLUMN attribution_check.exact IS 'Fall of the score with the position''s own keys and values held, logits. NULL: the model has no cache to hold them in.';
COMMENT ON COLUMN attribution_check.exact_full IS 'Fall of the score in the whole model, logits.';

CREATE TABLE pair_effect (
    neuron_id INTEGER NOT NULL,
    token_id INTEGER NOT NULL,
    side VARCHAR NOT NULL,
    chosen_by VARCHAR NOT NULL,
    n_positions INTEGER NOT NULL,
    activation_mean DOUBLE NOT NULL,
    probability DOUBLE NOT NULL,
    probability_change DOUBLE NOT NULL,
    probability_change_low DOUBLE,
    probability_change_high DOUBLE,
    rank_median DOUBLE NOT NULL,
    rank_change DOUBLE NOT NULL,
    rank_change_low DOUBLE,
    rank_change_high DOUBLE,
    logit_change DOUBLE NOT NULL,
    logit_change_low DOUBLE,
    logit_change_high DOUBLE,
    direct_effect DOUBLE NOT NULL
);
COMMENT ON TABLE pair_effect IS 'What becomes of a token''s prediction if a neuron that is congruent with it is mean-ablated (set to neuron.activation_mean) at a position where it fires (its activation is outside the zero bin and beyond its mean): means over positions of stored texts (up to half those of its strongest texts, the others of the intervals below), which are no random sample of the data. Changes are after minus before, at that position; earlier positions are left as they were. Only for the pairs that `atlas effects` measured; empty if it was not run. Sorted by neuron_id, token_id, side.';
COMMENT ON COLUMN pair_effect.neuron_id IS 'Neuron.';
COMMENT ON COLUMN pair_effect.token_id IS 'Token.';
COMMENT ON COLUMN pair_effect.side IS 'Sign of the activations that were ablated: ''positive''; in gated models also ''negative''.';
COMMENT ON COLUMN pair_effect.chosen_by IS 'Why the pair was measured, comma-separated: ''exclusive'' (among the best exclusive pairs), ''metric'' (among the best by pair_metric.average_precision_predicted).';
COMMENT ON COLUMN pair_effect.n_positions IS 'Positions measured (>= 1).';
COMMENT ON COLUMN pair_effect.activation_mean IS 'Mean activation of the neuron at them.';
COMMENT ON COLUMN pair_effect.probability IS 'Mean probability of the token there, 0 to 1, before.';
COMMENT ON COLUMN pair_effect.probability_change IS 'Mean change of that. Below 0: without the neuron the token is less likely.';
COMMENT ON COLUMN pair_effect.probability_change_low IS 'Lower end of the 95% bootstrap interval over positions. NULL: one position.';
COMMENT ON COLUMN pair_effect.probability_change_high IS 'Upper end of that interval. NULL: one position.';
COMMENT ON COLUMN pair_effect.rank_median IS 'Median rank of the token among all by logit, from 1, before.';
COMMENT ON COLUMN pair_effect.rank_change IS 'Mean change of the rank. Above 0: without the neuron other tokens pass it.';
COMMENT ON COLUMN pair_effect.rank_change_low IS 'Lower end of its 95% bootstrap interval. NULL: one position.';
COMMENT ON COLUMN pair_effect.rank_change_high IS 'Upper end of that interval. NULL: one position.';
COMMENT ON COLUMN pair_effect.logit_change IS 'Mean change of the token''s logit less the mean over the vocabulary, which includes what later layers do about it.';
COMMENT ON COLUMN pair_effect.logit_change_low IS 'Lower end of its 95% bootstrap interval. NULL: one position.';
COMMENT ON COLUMN pair_effect.logit_change_high IS 'Upper end of that interval. NULL: one position.';
COMMENT ON COLUMN pair_effect.direct_effect IS 'What the neuron adds to that logit by itself, on the mean: (activation - neuron.activation_mean) * congruence / scale of the final norm (and of the norm behind the MLP, where the model has one). If nothing else in the model answered, logit_change would be minus this (with readout ''unembed'').';

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

CREATE VIEW family_curve AS
SELECT n.name AS neuron, t."text" AS family, b.lower, b.upper, h.n,
       coalesce(p.n_predicted, 0) AS n_predicted, coalesce(p.n_actual, 0) AS n_actual,
       coalesce(p.n_predicted, 0) / h.n AS predicted_fraction, coalesce(p.n_actual, 0) / h.n AS actual_fraction,
       c.neuron_id, c.family_id, h.bin
FROM (SELECT DISTINCT neuron_id, family_id FROM family_histogram) AS c
JOIN activation_histogram AS h ON h.neuron_id = c.neuron_id
JOIN histogram_bin AS b ON b.bin = h.bin
JOIN neuron AS n ON n.neuron_id = c.neuron_id
JOIN token AS t ON t.token_id = c.family_id
LEFT JOIN family_histogram AS p ON p.neuron_id = c.neuron_id AND p.family_id = c.family_id AND p.bin = h.bin;
COMMENT ON VIEW family_curve IS 'Proportion of positions at which any token of a family is predicted (and really next) against activation: the family of a neuron''s best token (gated models: of its worst token too). Families that never occur are left out.';
COMMENT ON COLUMN family_curve.neuron IS 'Neuron name.';
COMMENT ON COLUMN family_curve.family IS 'Text of the family''s token of lowest id.';
COMMENT ON COLUMN family_curve.lower IS 'Least activation in the bin.';
COMMENT ON COLUMN family_curve.upper IS 'Activations in the bin are below this.';
COMMENT ON COLUMN family_curve.n IS 'Counted positions in the bin.';
COMMENT ON COLUMN family_curve.n_predicted IS 'Of those, positions at which a member is the top prediction.';
COMMENT ON COLUMN family_curve.n_actual IS 'Of those, positions after which a member really comes next.';
COMMENT ON COLUMN family_curve.predicted_fraction IS 'n_predicted / n, 0 to 1.';
COMMENT ON COLUMN family_curve.actual_fraction IS 'n_actual / n, 0 to 1.';
COMMENT ON COLUMN family_curve.neuron_id IS 'Neuron.';
COMMENT ON COLUMN family_curve.family_id IS 'Family (see token_family).';
COMMENT ON COLUMN family_curve.bin IS 'Bin (see histogram_bin).';

CREATE VIEW pair_prediction AS
SELECT n.name AS neuron, t."text" AS token, m.side, c.congruence, c.source, e.direction, e.score,
       m.* EXCLUDE (neuron_id, token_id, side), t.special, m.neuron_id, m.token_id
FROM pair_metric AS m
JOIN candidate_pair AS c ON c.neuron_id = m.neuron_id AND c.token_id = m.token_id
JOIN neuron AS n ON n.neuron_id = m.neuron_id
JOIN token AS t ON t.token_id = m.token_id
LEFT JOIN exclusive_pair AS e ON e.neuron_id = m.neuron_id AND e.token_id = m.token_id;
COMMENT ON VIEW pair_prediction IS 'Does congruence predict: every candidate pair and side with what its weights promise and how well its activation predicts the token (pair_metric, names resolved).';
COMMENT ON COLUMN pair_prediction.neuron IS 'Neuron name.';
COMMENT ON COLUMN pair_prediction.token IS 'Text of the token, leading space kept. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN pair_prediction.side IS '''positive'': a position''s score is its activation. ''negative'' (gated models only): minus its activation.';
COMMENT ON COLUMN pair_prediction.congruence IS 'Their congruence: what the weights promise.';
COMMENT ON COLUMN pair_prediction.source IS 'Why the pair is counted (see candidate_pair.source).';
COMMENT ON COLUMN pair_prediction.direction IS '''top'': each other''s best; ''bottom'': each other''s worst. NULL: no exclusive pair.';
COMMENT ON COLUMN pair_prediction.score IS 'token_gap * neuron_gap of the exclusive pair. NULL: no exclusive pair.';
COMMENT ON COLUMN pair_prediction.n_positions IS 'Positions ranked: all that were counted (atlas.n_positions).';
COMMENT ON COLUMN pair_prediction.n_active IS 'Of those, positions at which the neuron fires on the side, beyond the zero bin: activation >= 2^-6; negative: < -2^-6.';
COMMENT ON COLUMN pair_prediction.n_predicted IS 'Positions at which the token is the model''s top prediction.';
COMMENT ON COLUMN pair_prediction.n_actual IS 'Positions after which the token really comes next; the last position of a text has no next token and counts as without.';
COMMENT ON COLUMN pair_prediction.top_bin IS 'The side''s outermost bin that is not empty (see histogram_bin). NULL: n_active is 0.';
COMMENT ON COLUMN pair_prediction.top_bin_n IS 'Positions in it (>= 1). NULL: n_active is 0.';
COMMENT ON COLUMN pair_prediction.base_rate_predicted IS 'n_predicted / n_positions, 0 to 1.';
COMMENT ON COLUMN pair_prediction.auroc_predicted IS 'Area under the ROC curve of the score as a predictor of positions at which the token is the model''s top prediction, 0 to 1: the probability that such a position scores above another, ties counting half; so within a bin. 0.5: the score says nothing. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.auroc_predicted_error IS 'What binning leaves open: the area of the unbinned score lies within auroc_predicted plus or minus this (>= 0). NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.average_precision_predicted IS 'Average precision of the binned score as a predictor of positions at which the token is the model''s top prediction, 0 to 1: mean over those positions of the precision from their bin on. Chance gives base_rate_predicted. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.average_precision_predicted_lower IS 'Least that the average precision of the unbinned score can be, however positions are ordered within bins (positions of equal score enter together). NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.average_precision_predicted_upper IS 'Most that it can be. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.best_threshold_predicted IS 'The edge of a bin that parts positions best, by F1. Side ''positive'': the rule is activation >= it; ''negative'': activation < it. Of equals, the strongest. NULL: too little support (see pair_metric), or all positions are in one level.';
COMMENT ON COLUMN pair_prediction.best_f1_predicted IS 'F1 there: harmonic mean of precision and recall, 0 to 1; exact. NULL: as best_threshold_predicted.';
COMMENT ON COLUMN pair_prediction.precision_predicted IS 'Proportion of the positions beyond best_threshold_predicted at which the token is the model''s top prediction, 0 to 1; exact. NULL: as best_threshold_predicted.';
COMMENT ON COLUMN pair_prediction.precision_predicted_low IS 'Lower end of its 95% Wilson interval. NULL: as it. Positions of one text are not independent, so that true intervals are wider; so of all intervals here.';
COMMENT ON COLUMN pair_prediction.precision_predicted_high IS 'Upper end of that interval. NULL: as it.';
COMMENT ON COLUMN pair_prediction.recall_predicted IS 'Proportion of the n_predicted positions that lie beyond best_threshold_predicted, 0 to 1; exact. NULL: as best_threshold_predicted.';
COMMENT ON COLUMN pair_prediction.top_bin_predicted IS 'Proportion of the top_bin_n positions at which the token is the model''s top prediction, 0 to 1. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_bin_predicted_low IS 'Lower end of its 95% Wilson interval. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_bin_predicted_high IS 'Upper end of that interval. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_thousandth_predicted IS 'Proportion of the 0.1% of positions of highest score (n_positions / 1000, rounded up) at which the token is the model''s top prediction, 0 to 1; spread evenly over the bin that the cut falls in. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_thousandth_predicted_lower IS 'Least that it can be, whichever positions of that bin are within. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_thousandth_predicted_upper IS 'Most that it can be. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.lift_predicted IS 'top_thousandth_predicted / base_rate_predicted (>= 0; 1: no more often than anywhere). NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.mutual_information_predicted IS 'Bits that the level of the score tells about whether the token is the model''s top prediction (0 to 1): at most what the score itself tells. The estimate is too high by about (levels - 1) / (1.4 n_positions). NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.slope_predicted IS 'Least-squares slope of the proportion of positions at which the token is the model''s top prediction against the score, bins weighted by positions and standing at their middles (outermost bins at their finite edge, the zero bin and the silent level at 0): probability per unit of activation. NULL: too little support (see pair_metric), or all positions are in one level.';
COMMENT ON COLUMN pair_prediction.monotonicity_predicted IS 'Share of the variance between levels (weighted by positions) that the nearest never-falling curve has (isotonic regression), 0 to 1. 1: the proportion only rises with the score; 0: it only falls. NULL: too little support (see pair_metric), or the curve is flat.';
COMMENT ON COLUMN pair_prediction.base_rate_actual IS 'n_actual / n_positions, 0 to 1.';
COMMENT ON COLUMN pair_prediction.auroc_actual IS 'Area under the ROC curve of the score as a predictor of positions at which the token really comes next, 0 to 1: the probability that such a position scores above another, ties counting half; so within a bin. 0.5: the score says nothing. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.auroc_actual_error IS 'What binning leaves open: the area of the unbinned score lies within auroc_actual plus or minus this (>= 0). NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.average_precision_actual IS 'Average precision of the binned score as a predictor of positions at which the token really comes next, 0 to 1: mean over those positions of the precision from their bin on. Chance gives base_rate_actual. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.average_precision_actual_lower IS 'Least that the average precision of the unbinned score can be, however positions are ordered within bins (positions of equal score enter together). NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.average_precision_actual_upper IS 'Most that it can be. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.best_threshold_actual IS 'The edge of a bin that parts positions best, by F1. Side ''positive'': the rule is activation >= it; ''negative'': activation < it. Of equals, the strongest. NULL: too little support (see pair_metric), or all positions are in one level.';
COMMENT ON COLUMN pair_prediction.best_f1_actual IS 'F1 there: harmonic mean of precision and recall, 0 to 1; exact. NULL: as best_threshold_actual.';
COMMENT ON COLUMN pair_prediction.precision_actual IS 'Proportion of the positions beyond best_threshold_actual at which the token really comes next, 0 to 1; exact. NULL: as best_threshold_actual.';
COMMENT ON COLUMN pair_prediction.precision_actual_low IS 'Lower end of its 95% Wilson interval. NULL: as it. Positions of one text are not independent, so that true intervals are wider; so of all intervals here.';
COMMENT ON COLUMN pair_prediction.precision_actual_high IS 'Upper end of that interval. NULL: as it.';
COMMENT ON COLUMN pair_prediction.recall_actual IS 'Proportion of the n_actual positions that lie beyond best_threshold_actual, 0 to 1; exact. NULL: as best_threshold_actual.';
COMMENT ON COLUMN pair_prediction.top_bin_actual IS 'Proportion of the top_bin_n positions at which the token really comes next, 0 to 1. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_bin_actual_low IS 'Lower end of its 95% Wilson interval. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_bin_actual_high IS 'Upper end of that interval. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_thousandth_actual IS 'Proportion of the 0.1% of positions of highest score (n_positions / 1000, rounded up) at which the token really comes next, 0 to 1; spread evenly over the bin that the cut falls in. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_thousandth_actual_lower IS 'Least that it can be, whichever positions of that bin are within. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.top_thousandth_actual_upper IS 'Most that it can be. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.lift_actual IS 'top_thousandth_actual / base_rate_actual (>= 0; 1: no more often than anywhere). NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.mutual_information_actual IS 'Bits that the level of the score tells about whether the token really comes next (0 to 1): at most what the score itself tells. The estimate is too high by about (levels - 1) / (1.4 n_positions). NULL: too little support (see pair_metric).';
COMMENT ON COLUMN pair_prediction.slope_actual IS 'Least-squares slope of the proportion of positions at which the token really comes next against the score, bins weighted by positions and standing at their middles (outermost bins at their finite edge, the zero bin and the silent level at 0): probability per unit of activation. NULL: too little support (see pair_metric), or all positions are in one level.';
COMMENT ON COLUMN pair_prediction.monotonicity_actual IS 'Share of the variance between levels (weighted by positions) that the nearest never-falling curve has (isotonic regression), 0 to 1. 1: the proportion only rises with the score; 0: it only falls. NULL: too little support (see pair_metric), or the curve is flat.';
COMMENT ON COLUMN pair_prediction.special IS 'Whether the token is special.';
COMMENT ON COLUMN pair_prediction.neuron_id IS 'Neuron.';
COMMENT ON COLUMN pair_prediction.token_id IS 'Token.';

CREATE VIEW token_prediction AS
SELECT n.name AS neuron, n.layer, t."text" AS token, m.side, m.best_threshold_predicted AS threshold,
       round(m.recall_predicted * m.n_predicted / nullif(m.precision_predicted, 0))::BIGINT AS n_beyond,
       round(m.recall_predicted * m.n_predicted)::BIGINT AS n_hits, m.n_predicted,
       m.precision_predicted AS "precision", m.precision_predicted_low AS precision_low,
       m.precision_predicted_high AS precision_high, m.recall_predicted AS recall, m.auroc_predicted AS auroc,
       m.average_precision_predicted AS average_precision, m.base_rate_predicted AS base_rate,
       m.best_f1_predicted - 2 * m.base_rate_predicted / (1 + m.base_rate_predicted) AS f1_gain,
       coalesce(f1_gain >= 0.05 AND n_hits >= 5 AND precision_low >= 3 * base_rate, false) AS predicts, c.congruence,
       t.special, m.neuron_id, m.token_id
FROM pair_metric AS m
JOIN candidate_pair AS c ON c.neuron_id = m.neuron_id AND c.token_id = m.token_id
JOIN neuron AS n ON n.neuron_id = m.neuron_id
JOIN token AS t ON t.token_id = m.token_id
WHERE CASE m.side WHEN 'positive' THEN c.congruence > 0 ELSE c.congruence < 0 END;
COMMENT ON VIEW token_prediction IS 'Whether a neuron''s firing predicts a token: every counted pair on the side on which the neuron''s output weights raise the token, with its best threshold of activation. Where the pair has too little support (see pair_metric), the measures are NULL and predicts is false.';
COMMENT ON COLUMN token_prediction.neuron IS 'Neuron name.';
COMMENT ON COLUMN token_prediction.layer IS 'Block, from 0.';
COMMENT ON COLUMN token_prediction.token IS 'Text of the token, leading space kept. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN token_prediction.side IS '''positive'': high activations predict the token. ''negative'' (gated models only): low ones.';
COMMENT ON COLUMN token_prediction.threshold IS 'pair_metric.best_threshold_predicted. Side ''positive'': activation >= it counts as firing; ''negative'': activation < it. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.n_beyond IS 'Positions beyond the threshold (>= 1). NULL: too little support (see pair_metric), or no hit.';
COMMENT ON COLUMN token_prediction.n_hits IS 'Of those, positions at which the token is the model''s top prediction. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.n_predicted IS 'All positions at which the token is the model''s top prediction.';
COMMENT ON COLUMN token_prediction."precision" IS 'n_hits / n_beyond, 0 to 1. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.precision_low IS 'Lower end of its 95% Wilson interval. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.precision_high IS 'Upper end of that interval. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.recall IS 'n_hits / n_predicted, 0 to 1. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.auroc IS 'pair_metric.auroc_predicted: area under the ROC curve, 0 to 1; 0.5 is chance. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.average_precision IS 'pair_metric.average_precision_predicted, 0 to 1; chance gives base_rate. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.base_rate IS 'n_predicted over all counted positions, 0 to 1.';
COMMENT ON COLUMN token_prediction.f1_gain IS 'F1 at the threshold less 2 * base_rate / (1 + base_rate), that of always predicting the token. Below 0: worse than that. NULL: too little support (see pair_metric).';
COMMENT ON COLUMN token_prediction.predicts IS 'Whether the neuron counts as predicting the token: f1_gain >= 0.05, n_hits >= 5, and precision_low at least 3 times base_rate. These bounds are conventions of this atlas.';
COMMENT ON COLUMN token_prediction.congruence IS 'Their congruence: above 0 on side ''positive'', below 0 on ''negative''.';
COMMENT ON COLUMN token_prediction.special IS 'Whether the token is special.';
COMMENT ON COLUMN token_prediction.neuron_id IS 'Neuron.';
COMMENT ON COLUMN token_prediction.token_id IS 'Token.';

CREATE VIEW neuron_prediction AS
SELECT neuron, layer, token, side, threshold, n_beyond, n_hits, n_predicted, "precision", precision_low, precision_high,
       recall, auroc, average_precision, base_rate, f1_gain, predicts, congruence, neuron_id, token_id
FROM token_prediction
WHERE "precision" > 0 AND NOT special
QUALIFY row_number() OVER (PARTITION BY neuron_id ORDER BY predicts DESC, f1_gain DESC, token_id, side) = 1;
COMMENT ON VIEW neuron_prediction IS 'The token that each neuron''s firing predicts best: of its counted pairs on the side on which its output weights raise the token, special tokens left out, the one whose best threshold leads chance by most, by F1. No row: no such pair has support and an F1 above 0 (see pair_metric). The best of many pairs and thresholds is flattered by that choice, and only pairs are tried that were counted.';
COMMENT ON COLUMN neuron_prediction.neuron IS 'Neuron name.';
COMMENT ON COLUMN neuron_prediction.layer IS 'Block, from 0.';
COMMENT ON COLUMN neuron_prediction.token IS 'Text of the token, leading space kept. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN neuron_prediction.side IS '''positive'': high activations predict the token. ''negative'' (gated models only): low ones.';
COMMENT ON COLUMN neuron_prediction.threshold IS 'pair_metric.best_threshold_predicted. Side ''positive'': activation >= it counts as firing; ''negative'': activation < it.';
COMMENT ON COLUMN neuron_prediction.n_beyond IS 'Positions beyond the threshold (>= 1).';
COMMENT ON COLUMN neuron_prediction.n_hits IS 'Of those, positions at which the token is the model''s top prediction.';
COMMENT ON COLUMN neuron_prediction.n_predicted IS 'All positions at which the token is the model''s top prediction.';
COMMENT ON COLUMN neuron_prediction."precision" IS 'n_hits / n_beyond, 0 to 1.';
COMMENT ON COLUMN neuron_prediction.precision_low IS 'Lower end of its 95% Wilson interval.';
COMMENT ON COLUMN neuron_prediction.precision_high IS 'Upper end of that interval.';
COMMENT ON COLUMN neuron_prediction.recall IS 'n_hits / n_predicted, 0 to 1.';
COMMENT ON COLUMN neuron_prediction.auroc IS 'pair_metric.auroc_predicted: area under the ROC curve, 0 to 1; 0.5 is chance.';
COMMENT ON COLUMN neuron_prediction.average_precision IS 'pair_metric.average_precision_predicted, 0 to 1; chance gives base_rate.';
COMMENT ON COLUMN neuron_prediction.base_rate IS 'n_predicted over all counted positions, 0 to 1.';
COMMENT ON COLUMN neuron_prediction.f1_gain IS 'F1 at the threshold less 2 * base_rate / (1 + base_rate), that of always predicting the token. Below 0: worse than that.';
COMMENT ON COLUMN neuron_prediction.predicts IS 'Whether the neuron counts as predicting the token: f1_gain >= 0.05, n_hits >= 5, and precision_low at least 3 times base_rate. These bounds are conventions of this atlas.';
COMMENT ON COLUMN neuron_prediction.congruence IS 'Their congruence: above 0 on side ''positive'', below 0 on ''negative''.';
COMMENT ON COLUMN neuron_prediction.neuron_id IS 'Neuron.';
COMMENT ON COLUMN neuron_prediction.token_id IS 'Token.';

-- The sign of a gated neuron is a gauge (flip w_in and w_out together), so that the side of its congruence is taken
-- with that of its activation: what it does where it fires strongly.
CREATE VIEW neuron_kind AS
SELECT n.name AS neuron, n.layer,
       CASE WHEN n.congruence_kurtosis > 10 AND n.congruence_skewness * g.sign > 0 THEN 'prediction'
            WHEN n.congruence_kurtosis > 10 AND n.congruence_skewness * g.sign < 0 THEN 'suppression'
            WHEN n.congruence_kurtosis <= 4 AND n.congruence_std::DOUBLE / n.w_out_norm > 1.5 * y.spread THEN 'partition'
       END AS kind,
       n.congruence_kurtosis AS kurtosis, n.congruence_skewness * g.sign AS skewness,
       n.congruence_std::DOUBLE / nullif(n.w_out_norm, 0) / y.spread AS spread,
       n.hub_count > y.hub_count AS hub, n.hub_count, n.dead,
       CASE WHEN n.entropy_change IS NOT NULL
            THEN n.unembedding_null_fraction > 0.1 AND abs(n.entropy_change) > 0.01
                 AND n.entropy_change_by_norm / n.entropy_change > 0.5
       END AS entropy,
       n.neuron_id
FROM neuron AS n
JOIN (
    SELECT neuron_id, CASE WHEN gated AND activation_skewness < 0 THEN -1 ELSE 1 END AS sign FROM neuron, atlas
) AS g USING (neuron_id),
(
    SELECT avg(congruence_std::DOUBLE / nullif(w_out_norm, 0)) AS spread,
           avg(hub_count) + 2 * stddev_pop(hub_count) AS hub_count
    FROM neuron
) AS y;
COMMENT ON VIEW neuron_kind IS 'Kinds of neurons by the moments of their congruence over the vocabulary, in the manner of Gurnee et al., "Universal Neurons in GPT2 Language Models" (2024): a row a neuron. The thresholds are conventions of this atlas.';
COMMENT ON COLUMN neuron_kind.neuron IS 'Neuron name.';
COMMENT ON COLUMN neuron_kind.layer IS 'Block, from 0.';
COMMENT ON COLUMN neuron_kind.kind IS '''prediction'': kurtosis above 10 and skewness above 0, so that it raises a few tokens. ''suppression'': kurtosis above 10 and skewness below 0, so that it lowers a few. ''partition'': kurtosis at most 4 and spread above 1.5, so that it raises one half of the vocabulary against the other. NULL: none of these.';
COMMENT ON COLUMN neuron_kind.kurtosis IS 'neuron.congruence_kurtosis: 3 for a normal distribution. NULL: the standard deviation is zero.';
COMMENT ON COLUMN neuron_kind.skewness IS 'neuron.congruence_skewness; in gated models with the opposite sign where neuron.activation_skewness is below 0: of what the neuron does on the side on which it fires strongly. NULL: the standard deviation is zero.';
COMMENT ON COLUMN neuron_kind.spread IS 'Standard deviation of its congruence for an output norm of 1, over the mean of that over the model''s neurons (>= 0; 1: as usual). NULL: its output weights are zero.';
COMMENT ON COLUMN neuron_kind.hub IS 'Whether hub_count is above the mean over the model''s neurons by more than two standard deviations, after Radovanović, Nanopoulos and Ivanović, "Hubs in Space" (2010).';
COMMENT ON COLUMN neuron_kind.hub_count IS 'Tokens whose best neuron this is.';
COMMENT ON COLUMN neuron_kind.dead IS 'Whether every counted activation lies in the zero bin (|activation| below 2^-6).';
COMMENT ON COLUMN neuron_kind.entropy IS 'Whether it is an entropy neuron, in the manner of Stolfo et al., "Confidence Regulation Neurons in Language Models" (2024): unembedding_null_fraction above 0.1, entropy_change beyond 0.01 nats either way, and more than half of that by the final norm''s scale alone (entropy_change_by_norm). NULL: entropy_change is NULL.';
COMMENT ON COLUMN neuron_kind.neuron_id IS 'Neuron.';

CREATE VIEW token_detector AS
SELECT n.name AS neuron, t."text" AS token, d.side, d.direction, d.lead, n.layer, d.neuron_id, d.token_id
FROM (
    SELECT i.neuron_id, i.side, i.direction, max(i.token_id) FILTER (i.rank = 1) AS token_id,
           (max(i.value) FILTER (i.rank = 1) - max(i.value) FILTER (i.rank = 2))::DOUBLE
               / nullif(max(i.value) FILTER (i.rank = 2) - max(i.value) FILTER (i.rank = 20), 0) AS lead
    FROM neuron_input_token AS i, atlas AS a
    WHERE i.rank IN (1, 2, 20)
      AND (i.side = 'gate' AND i.direction = 'top' OR i.side = 'in' AND (i.direction = 'top' OR a.gated))
    GROUP BY i.neuron_id, i.side, i.direction
    HAVING lead > 3
    QUALIFY row_number() OVER (PARTITION BY i.neuron_id ORDER BY lead DESC, i.side, i.direction DESC) = 1
) AS d
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id);
COMMENT ON VIEW token_detector IS 'Neurons whose input weights read the embedding of one token far more than of any other: it leads the second by more than three times what the second leads the twentieth by. Of tokens without structure about 0.26% of lists do that by chance (exponential tails). A row a neuron; the list of greatest lead counts. Only the embedding: what attention and earlier layers add is not in it.';
COMMENT ON COLUMN token_detector.neuron IS 'Neuron name.';
COMMENT ON COLUMN token_detector.token IS 'Text of the token. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN token_detector.side IS '''in'': the input weights read it. ''gate'' (gated models only): the gate''s, which it opens.';
COMMENT ON COLUMN token_detector.direction IS '''top'': highest value. ''bottom'' (gated models, side ''in'', where the sign is a gauge): lowest.';
COMMENT ON COLUMN token_detector.lead IS '(first - second) / (second - twentieth) of neuron_input_token.value, above 3.';
COMMENT ON COLUMN token_detector.layer IS 'Block, from 0.';
COMMENT ON COLUMN token_detector.neuron_id IS 'Neuron.';
COMMENT ON COLUMN token_detector.token_id IS 'Token.';

CREATE VIEW reduced_congruence AS
WITH neuron_mean AS (
    SELECT neuron_id, avg(congruence) AS mean FROM neuron_token WHERE direction = 'top' AND rank <= 10 GROUP BY neuron_id
),
token_mean AS (
    SELECT token_id, avg(congruence) AS mean FROM token_neuron WHERE direction = 'top' AND rank <= 10 GROUP BY token_id
),
listed AS (
    SELECT 'neuron' AS list, neuron_id, token_id, rank, congruence FROM neuron_token WHERE direction = 'top'
    UNION ALL
    SELECT 'token', neuron_id, token_id, rank, congruence FROM token_neuron WHERE direction = 'top'
)
SELECT n.name AS neuron, t."text" AS token, l.list, 2 * l.congruence::DOUBLE - nm.mean - tm.mean AS reduced,
       l.congruence, l.rank, nm.mean AS neuron_mean, tm.mean AS token_mean, l.neuron_id, l.token_id
FROM listed AS l
JOIN neuron_mean AS nm USING (neuron_id)
JOIN token_mean AS tm USING (token_id)
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id);
COMMENT ON VIEW reduced_congruence IS 'Congruence with hubs discounted: cross-domain similarity local scaling (CSLS; Conneau et al., "Word Translation Without Parallel Data", 2018) over the stored top lists, k = 10. Of congruence, not of cosine: the lists are exact for it, and what norms add is part of what is taken off. Filter by list and by its unit (list ''neuron'' and neuron_id, or list ''token'' and token_id) and order by reduced DESC; pairs outside the lists are not looked at.';
COMMENT ON COLUMN reduced_congruence.neuron IS 'Neuron name.';
COMMENT ON COLUMN reduced_congruence.token IS 'Text of the token. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN reduced_congruence.list IS 'List that the pair is in: ''neuron'', the neuron''s best tokens (neuron_token); ''token'', the token''s best neurons (token_neuron). A pair in both has two rows.';
COMMENT ON COLUMN reduced_congruence.reduced IS '2 * congruence - neuron_mean - token_mean: how far the pair is beyond what is usual for both. Negative: either has ten that are better on average.';
COMMENT ON COLUMN reduced_congruence.congruence IS 'Their congruence.';
COMMENT ON COLUMN reduced_congruence.rank IS 'Place in that list by congruence, from 1.';
COMMENT ON COLUMN reduced_congruence.neuron_mean IS 'Mean congruence of the neuron with its 10 best tokens.';
COMMENT ON COLUMN reduced_congruence.token_mean IS 'Mean congruence of the token with its 10 best neurons.';
COMMENT ON COLUMN reduced_congruence.neuron_id IS 'Neuron.';
COMMENT ON COLUMN reduced_congruence.token_id IS 'Token.';

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

-- Lateral, so that whatever chooses neurons, their names too, chooses before the lists are made: a list grouped over
-- all neurons and joined afterwards takes hundreds of MiB and seconds for one row.
CREATE VIEW neuron_page AS
SELECT n.name AS neuron, n.layer, n."index", n.best_congruence, n.token_gap, n.worst_congruence, n.token_gap_bottom,
       n.activation_mean, n.activation_std, n.activation_min, n.activation_max, n.positive_fraction, n.dead,
       best.tokens AS best_tokens, best.congruences AS best_congruences,
       worst.tokens AS worst_tokens, worst.congruences AS worst_congruences,
       bars.histogram, pairs.exclusive_pairs, shown.examples, n.neuron_id
FROM neuron AS n
LEFT JOIN LATERAL (
    SELECT list(t."text" ORDER BY nt.rank) AS tokens, list(nt.congruence ORDER BY nt.rank) AS congruences
    FROM neuron_token AS nt JOIN token AS t USING (token_id)
    WHERE nt.neuron_id = n.neuron_id AND nt.direction = 'top'
) AS best ON TRUE
LEFT JOIN LATERAL (
    SELECT list(t."text" ORDER BY nt.rank) AS tokens, list(nt.congruence ORDER BY nt.rank) AS congruences
    FROM neuron_token AS nt JOIN token AS t USING (token_id)
    WHERE nt.neuron_id = n.neuron_id AND nt.direction = 'bottom'
) AS worst ON TRUE
LEFT JOIN LATERAL (
    SELECT list({'lower': b.lower, 'upper': b.upper, 'n': h.n} ORDER BY b.bin) AS histogram
    FROM activation_histogram AS h JOIN histogram_bin AS b USING (bin) WHERE h.neuron_id = n.neuron_id
) AS bars ON TRUE
LEFT JOIN LATERAL (
    SELECT list({'token': t."text", 'direction': p.direction, 'rank': p.rank, 'score': p.score}
                ORDER BY p.direction DESC) AS exclusive_pairs
    FROM exclusive_pair AS p JOIN token AS t USING (token_id) WHERE p.neuron_id = n.neuron_id
) AS pairs ON TRUE
LEFT JOIN LATERAL (
    SELECT list({'kind': e.kind, 'rank': e.rank, 'activation': e.activation, 'text_id': e.text_id,
                 'position': e.position} ORDER BY e.kind, e."interval", e.rank) AS examples
    FROM example AS e WHERE e.neuron_id = n.neuron_id
) AS shown ON TRUE;
COMMENT ON VIEW neuron_page IS 'A row a neuron, with its lists inside: what a neuron page shows. Chosen by neuron_id or by name it answers in milliseconds.';
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

CREATE VIEW study_neuron AS
WITH patched AS (
    SELECT study, neuron_id, layer, value, low, high,
           row_number() OVER (PARTITION BY study ORDER BY abs(value) DESC, neuron_id) AS rank
    FROM study_step WHERE kind = 'patch_neuron'
),
direct AS (
    SELECT study, neuron_id, max(value) FILTER (variant = 'clean') AS clean,
           max(value) FILTER (variant = 'corrupt') AS corrupt
    FROM study_step WHERE kind = 'direct_effect' GROUP BY study, neuron_id
),
estimate AS (SELECT study, neuron_id, value FROM study_step WHERE kind = 'attribution')
SELECT p.study, n.name AS neuron, p.rank, p.value AS recovery, p.low, p.high, e.value AS attribution,
       d.clean AS direct_effect_clean, d.corrupt AS direct_effect_corrupt,
       list_contains(s.found_neuron_ids, p.neuron_id) AS found,
       best."text" AS best_token, worst."text" AS worst_token, p.layer, p.neuron_id
FROM patched AS p
JOIN study AS s ON s.name = p.study
JOIN neuron AS n USING (neuron_id)
JOIN token AS best ON best.token_id = n.best_token_id
JOIN token AS worst ON worst.token_id = n.worst_token_id
LEFT JOIN direct AS d ON d.study = p.study AND d.neuron_id = p.neuron_id
LEFT JOIN estimate AS e ON e.study = p.study AND e.neuron_id = p.neuron_id;
COMMENT ON VIEW study_neuron IS 'The neurons that each study patched one by one: how much of the clean logit difference each brings back, and what it adds directly.';
COMMENT ON COLUMN study_neuron.study IS 'Study.';
COMMENT ON COLUMN study_neuron.neuron IS 'Neuron name.';
COMMENT ON COLUMN study_neuron.rank IS 'Place by |recovery| among the study''s patched neurons, from 1; ties by lower neuron_id.';
COMMENT ON COLUMN study_neuron.recovery IS 'Relative logit-difference recovery when its clean activation is put into the corrupt run: 0 as corrupt, 1 as clean.';
COMMENT ON COLUMN study_neuron.low IS 'Lower end of its 95% interval over the pairs of a suite. NULL: one pair.';
COMMENT ON COLUMN study_neuron.high IS 'Upper end of that interval. NULL: one pair.';
COMMENT ON COLUMN study_neuron.attribution IS 'Its estimate, by which the neuron was chosen. NULL: not computed.';
COMMENT ON COLUMN study_neuron.direct_effect_clean IS 'What it adds to the logit difference by itself after the clean prompt, logits. NULL: not measured.';
COMMENT ON COLUMN study_neuron.direct_effect_corrupt IS 'The same after the corrupt prompt. NULL: not measured.';
COMMENT ON COLUMN study_neuron.found IS 'Whether it stood out (study.found_neuron_ids).';
COMMENT ON COLUMN study_neuron.best_token IS 'Text of the token its output weights are most congruent with. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN study_neuron.worst_token IS 'Text of the token they are least congruent with. NULL: the id is not in the tokenizer.';
COMMENT ON COLUMN study_neuron.layer IS 'Block, from 0.';
COMMENT ON COLUMN study_neuron.neuron_id IS 'Neuron.';

-- ---------------------------------------------------------------------------------------------------------------
-- Macros: questions to every neuron or token, from the weights, where tables hold only the ends of a list
-- ---------------------------------------------------------------------------------------------------------------

CREATE MACRO token_id_of(token) AS (
    CASE WHEN typeof(token) = 'VARCHAR' THEN coalesce(
        (SELECT min(t.token_id) FROM token AS t WHERE t."text" = CAST(token AS VARCHAR)),
        error('This atlas has no token with the text ''' || CAST(token AS VARCHAR)
              || '''. Write the token''s text with its leading space, as in '' an'', or its token_id.'))
    ELSE coalesce(
        (SELECT t.token_id FROM token AS t WHERE t.token_id = try_cast(token AS BIGINT)),
        error('This atlas has no token with the id ' || coalesce(CAST(token AS VARCHAR), 'NULL')
              || '. Write a token_id of the table token, or the token''s text.'))
    END
);
COMMENT ON MACRO token_id_of IS 'The token_id of a token given by its text, leading space kept, or by its id; the lowest id where several tokens have that text. No such token is an error.';

CREATE MACRO neuron_id_of(neuron) AS (
    CASE WHEN typeof(neuron) = 'VARCHAR' THEN coalesce(
        (SELECT n.neuron_id FROM neuron AS n WHERE n.name = CAST(neuron AS VARCHAR)),
        error('This atlas has no neuron named ''' || CAST(neuron AS VARCHAR)
              || '''. Write a name such as L0N12 (layer and index, from 0), or a neuron_id.'))
    ELSE coalesce(
        (SELECT n.neuron_id FROM neuron AS n WHERE n.neuron_id = try_cast(neuron AS BIGINT)),
        error('This atlas has no neuron with the id ' || coalesce(CAST(neuron AS VARCHAR), 'NULL')
              || '. Write a neuron_id, or a name such as L0N12.'))
    END
);
COMMENT ON MACRO neuron_id_of IS 'The neuron_id of a neuron given by its name, as in L31N892, or by its id. No such neuron is an error.';

CREATE MACRO weights_required() AS TABLE
SELECT NULL::VARCHAR AS neuron FROM atlas AS a
WHERE CASE WHEN a.has_weights THEN FALSE ELSE error(
    'This atlas was built with --no-weights: it has no congruence beyond the stored lists (neuron_token, token_neuron). '
    || 'Build it again without --no-weights.') END;
COMMENT ON MACRO TABLE weights_required IS 'No rows, and an error where the file was built with --no-weights. The macros over the weights end with it.';

CREATE MACRO congruence_with(token) AS TABLE
WITH chosen AS MATERIALIZED (SELECT token_id_of(token) AS token_id),
other AS MATERIALIZED (
    SELECT c.token_id, t."text", r.readout
    FROM chosen AS c JOIN token AS t USING (token_id) JOIN token_weight AS r USING (token_id)
)
SELECT n.name AS neuron, n.layer, n."index", row_number() OVER (ORDER BY c.congruence DESC, c.neuron_id) AS rank,
       c."text" AS token, c.congruence, c.neuron_id, c.token_id
FROM (
    SELECT w.neuron_id, o.token_id, o."text", list_dot_product(w.w_out, o.readout) AS congruence
    FROM neuron_weight AS w, other AS o
) AS c
JOIN neuron AS n USING (neuron_id)
UNION ALL BY NAME FROM weights_required();
COMMENT ON MACRO TABLE congruence_with IS 'Congruence of every neuron with a token (its text, leading space kept, or its token_id), from the weights. A row a neuron; rank from 1, the most congruent first, ties by lower neuron_id.';

CREATE MACRO congruence_with_direction(plus, minus) AS TABLE
WITH chosen AS MATERIALIZED (
    SELECT token_id_of(plus) AS plus_id, token_id_of(minus) AS minus_id
),
others AS MATERIALIZED (
    SELECT p."text" AS plus_text, m."text" AS minus_text, x.readout AS plus_readout, y.readout AS minus_readout
    FROM chosen AS c
    JOIN token AS p ON p.token_id = c.plus_id
    JOIN token AS m ON m.token_id = c.minus_id
    JOIN token_weight AS x ON x.token_id = c.plus_id
    JOIN token_weight AS y ON y.token_id = c.minus_id
)
SELECT n.name AS neuron, n.layer, n."index",
       row_number() OVER (ORDER BY c.congruence_plus - c.congruence_minus DESC, c.neuron_id) AS rank,
       c.plus_text AS plus, c.minus_text AS minus, c.congruence_plus - c.congruence_minus AS congruence,
       c.congruence_plus, c.congruence_minus, c.neuron_id
FROM (
    SELECT w.neuron_id, o.plus_text, o.minus_text, list_dot_product(w.w_out, o.plus_readout) AS congruence_plus,
           list_dot_product(w.w_out, o.minus_readout) AS congruence_minus
    FROM neuron_weight AS w, others AS o
) AS c
JOIN neuron AS n USING (neuron_id)
UNION ALL BY NAME FROM weights_required();
COMMENT ON MACRO TABLE congruence_with_direction IS 'Congruence of every neuron with the direction from one token to another: the readout of plus less that of minus (each a token''s text, leading space kept, or its token_id), from the weights. A row a neuron; congruence is congruence_plus - congruence_minus; rank from 1, highest first, ties by lower neuron_id.';

CREATE MACRO neuron_congruence(neuron) AS TABLE
WITH chosen AS MATERIALIZED (SELECT neuron_id_of(neuron) AS neuron_id),
other AS MATERIALIZED (
    SELECT c.neuron_id, n.name, n.layer, n."index", w.w_out
    FROM chosen AS c JOIN neuron AS n USING (neuron_id) JOIN neuron_weight AS w USING (neuron_id)
)
SELECT c.name AS neuron, c.layer, c."index", row_number() OVER (ORDER BY c.congruence DESC, c.token_id) AS rank,
       t."text" AS token, c.congruence, t.special, t.n_actual, t.n_predicted, c.neuron_id, c.token_id
FROM (
    SELECT o.neuron_id, o.name, o.layer, o."index", r.token_id, list_dot_product(o.w_out, r.readout) AS congruence
    FROM token_weight AS r, other AS o
) AS c
JOIN token AS t USING (token_id)
UNION ALL BY NAME FROM weights_required();
COMMENT ON MACRO TABLE neuron_congruence IS 'Congruence of a neuron (its name, as in L31N892, or its neuron_id) with every token, from the weights. A row a token; rank from 1, the most congruent first, ties by lower token_id; special, n_actual and n_predicted as in the table token.';

CREATE MACRO similar_neurons(neuron) AS TABLE
WITH chosen AS MATERIALIZED (SELECT neuron_id_of(neuron) AS neuron_id),
other AS MATERIALIZED (
    SELECT c.neuron_id, n.w_out_norm, w.w_out
    FROM chosen AS c JOIN neuron AS n USING (neuron_id) JOIN neuron_weight AS w USING (neuron_id)
)
SELECT n.name AS neuron, n.layer, n."index",
       row_number() OVER (ORDER BY c.product / nullif(c.norm * n.w_out_norm, 0) DESC NULLS LAST, c.neuron_id) AS rank,
       c.product / nullif(c.norm * n.w_out_norm, 0) AS cosine, t."text" AS best_token, n.best_congruence, c.neuron_id
FROM (
    SELECT w.neuron_id, o.w_out_norm AS norm, list_dot_product(w.w_out, o.w_out) AS product
    FROM neuron_weight AS w, other AS o
    WHERE w.neuron_id <> o.neuron_id
) AS c
JOIN neuron AS n USING (neuron_id)
JOIN token AS t ON t.token_id = n.best_token_id
UNION ALL BY NAME FROM weights_required();
COMMENT ON MACRO TABLE similar_neurons IS 'Cosine of every other neuron''s w_out with that of a neuron (its name or neuron_id), from the weights, with each one''s own best token. A row a neuron; rank from 1, the most similar first, ties by lower neuron_id; cosine NULL: either w_out is zero.';

-- Lateral, so that whatever chooses neurons and tokens, their names too, chooses before anything is summed; and a
-- neuron's histogram is summed once for all of its tokens.
CREATE MACRO prediction_above(activation) AS TABLE
SELECT n.name AS neuron, t."text" AS token, f.n, s.n_predicted, s.n_actual, s.n_predicted / f.n AS predicted_fraction,
       s.n_actual / f.n AS actual_fraction, s.n_predicted / f.n / nullif(t.n_predicted / a.n_positions, 0) AS lift,
       c.neuron_id, c.token_id
FROM candidate_pair AS c
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id), atlas AS a,
LATERAL (
    SELECT sum(h.n)::BIGINT AS n
    FROM activation_histogram AS h JOIN histogram_bin AS b USING (bin)
    WHERE h.neuron_id = c.neuron_id AND b.lower >= activation
) AS f,
LATERAL (
    SELECT coalesce(sum(p.n_predicted), 0)::BIGINT AS n_predicted, coalesce(sum(p.n_actual), 0)::BIGINT AS n_actual
    FROM prediction_histogram AS p JOIN histogram_bin AS b USING (bin)
    WHERE p.neuron_id = c.neuron_id AND p.token_id = c.token_id AND b.lower >= activation
) AS s
WHERE f.n IS NOT NULL;
COMMENT ON MACRO TABLE prediction_above IS 'How often each candidate pair''s token is predicted, and really comes next, at the positions where its neuron''s activation is at least the given one (rounded up to a bin''s lower edge). A row a candidate pair with such positions: n of them, n_predicted and n_actual of those, their fractions, and lift: predicted_fraction over the token''s fraction of all positions (NULL: it is never predicted).';
